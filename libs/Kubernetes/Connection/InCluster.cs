using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace AmbientMesh.Kubernetes;

/// <summary>The connection a pod has by its ServiceAccount: environment for the address, mounted files for trust and token.</summary>
public static class InCluster
{
    /// <summary>Where the kubelet mounts token, ca.crt and namespace.</summary>
    public const string DefaultFolder = "/var/run/secrets/kubernetes.io/serviceaccount";

    public static bool IsPresent(Func<string, string?> environment) => environment("KUBERNETES_SERVICE_HOST") is { Length: > 0 };

    /// <summary>Reads address, authorities, token and namespace.</summary>
    /// <exception cref="KubernetesConfigurationException">A variable or file is missing or unusable.</exception>
    public static KubernetesConnection Load(Func<string, string?> environment, string folder, TimeProvider clock)
    {
        var host = environment("KUBERNETES_SERVICE_HOST");
        var port = environment("KUBERNETES_SERVICE_PORT");
        if (string.IsNullOrEmpty(host) || string.IsNullOrEmpty(port))
            throw new KubernetesConfigurationException("KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: this process does not run in a pod.");
        var address = host.Contains(':') ? $"[{host}]" : host;
        if (!Uri.TryCreate($"https://{address}:{port}", UriKind.Absolute, out var server))
            throw new KubernetesConfigurationException($"KUBERNETES_SERVICE_HOST '{host}' and KUBERNETES_SERVICE_PORT '{port}' do not make an address.");
        var token = BearerToken.FromFile(Path.Combine(folder, "token"), clock);
        token.Current();
        return new KubernetesConnection { Server = server, Authorities = Authorities(Path.Combine(folder, "ca.crt")), Token = token, Namespace = NamespaceIn(folder) };
    }

    private static X509Certificate2Collection Authorities(string path)
    {
        var authorities = new X509Certificate2Collection();
        try
        {
            authorities.ImportFromPemFile(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or CryptographicException)
        {
            throw new KubernetesConfigurationException($"The cluster's authorities {path} cannot be read: {e.Message}", e);
        }
        return authorities.Count > 0 ? authorities : throw new KubernetesConfigurationException($"{path} holds no certificate.");
    }

    private static string NamespaceIn(string folder)
    {
        var path = Path.Combine(folder, "namespace");
        return File.Exists(path) && File.ReadAllText(path).Trim() is { Length: > 0 } name ? name : "default";
    }
}
