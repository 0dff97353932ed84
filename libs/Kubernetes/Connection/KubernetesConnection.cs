using System.Net.Security;
using System.Security.Cryptography.X509Certificates;

namespace AmbientMesh.Kubernetes;

/// <summary>Where the API server is and how to speak to it. Made by <see cref="Kubeconfig"/>, <see cref="InCluster"/> or by hand.</summary>
public sealed record KubernetesConnection
{
    public required Uri Server { get; init; }
    /// <summary>The authorities the server's certificate must lead to; null: those of this machine.</summary>
    public X509Certificate2Collection? Authorities { get; init; }
    /// <summary>Name expected in the server's certificate when it is not the host of <see cref="Server"/>; requests carry it as their host.</summary>
    public string? TlsServerName { get; init; }
    /// <summary>Takes any server certificate; only because a kubeconfig may ask for it.</summary>
    public bool SkipServerVerification { get; init; }
    /// <summary>With its private key.</summary>
    public X509Certificate2? ClientCertificate { get; init; }
    public BearerToken? Token { get; init; }
    /// <summary>The namespace meant when none is named.</summary>
    public string Namespace { get; init; } = "default";

    /// <summary>The connection this process should use: the kubeconfig at <paramref name="path"/> or of KUBECONFIG, else the pod it runs in, else <c>~/.kube/config</c>.</summary>
    /// <param name="path">A kubeconfig named by the user; null when none was.</param>
    /// <param name="environment">Reads an environment variable; null when unset.</param>
    /// <param name="context">A context of the kubeconfig; naming one rules the pod's own connection out. Null: the current one.</param>
    /// <param name="runsPlugins">Whether a program that the kubeconfig names is run for credentials; otherwise such a kubeconfig is refused.</param>
    /// <exception cref="KubernetesConfigurationException">What was chosen is missing or unusable.</exception>
    public static KubernetesConnection Find(string? path, Func<string, string?> environment, TimeProvider clock, string? context = null, bool runsPlugins = false)
    {
        var plugins = runsPlugins ? environment : null;
        if (!string.IsNullOrEmpty(path)) return Kubeconfig.Load([path]).Connect(clock, context, plugins);
        if (environment("KUBECONFIG") is { Length: > 0 } list) return Kubeconfig.Load(list.Split(':', StringSplitOptions.RemoveEmptyEntries)).Connect(clock, context, plugins);
        if (context is null && InCluster.IsPresent(environment)) return InCluster.Load(environment, InCluster.DefaultFolder, clock);
        return Kubeconfig.Load([Path.Combine(environment("HOME") ?? "/root", ".kube", "config")]).Connect(clock, context, plugins);
    }

    /// <summary>The HTTP handler for this connection: HTTP/2 where the server offers it, dead peers noticed by ping within 45 s.</summary>
    internal SocketsHttpHandler CreateHandler()
    {
        var tls = new SslClientAuthenticationOptions();
#pragma warning disable CA5359 // the user asked for it by insecure-skip-tls-verify
        if (SkipServerVerification) tls.RemoteCertificateValidationCallback = static (_, _, _, _) => true;
#pragma warning restore CA5359
        else if (Authorities is { } authorities) tls.CertificateChainPolicy = TrustOnly(authorities);
        if (ClientCertificate is { } certificate) tls.ClientCertificates = [certificate];
        return new SocketsHttpHandler
        {
            SslOptions = tls,
            ConnectTimeout = TimeSpan.FromSeconds(15),
            EnableMultipleHttp2Connections = true,
            KeepAlivePingDelay = TimeSpan.FromSeconds(30),
            KeepAlivePingTimeout = TimeSpan.FromSeconds(15),
            PooledConnectionLifetime = TimeSpan.FromMinutes(30),
            UseCookies = false,
            UseProxy = false,
            AllowAutoRedirect = false,
        };
    }

    private static X509ChainPolicy TrustOnly(X509Certificate2Collection authorities)
    {
        var policy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
        policy.CustomTrustStore.AddRange(authorities);
        return policy;
    }
}

/// <summary>The connection to the API server cannot be set up; the message names the file or setting and what is wrong with it.</summary>
public sealed class KubernetesConfigurationException(string message, Exception? cause = null) : Exception(message, cause);
