using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace AmbientMesh.Kubernetes;

/// <summary>How a kubeconfig's user entry says that a program gives the credentials.</summary>
/// <param name="ApiVersion">Of the object the program is asked for and answers with.</param>
/// <param name="Command">With a slash a path, already absolute; without one a name to be found in <paramref name="Environment"/>'s PATH.</param>
/// <param name="Variables">Added to what the program inherits.</param>
/// <param name="InstallHint">What the kubeconfig says to do when the program is not there; null when it says nothing.</param>
/// <param name="Cluster">What the program is told of the cluster; null when the kubeconfig does not ask for it.</param>
/// <param name="Environment">Reads an environment variable; null when unset.</param>
/// <param name="Origin">For messages: the file and the entry.</param>
internal sealed record CredentialPluginCall(
    string ApiVersion, string Command, IReadOnlyList<string> Arguments, IReadOnlyDictionary<string, string> Variables, string? InstallHint, JsonObject? Cluster,
    Func<string, string?> Environment, string Origin);

/// <summary>What a credential plugin gave.</summary>
/// <param name="Expires">Null: it holds until the server refuses it.</param>
internal sealed record PluginCredential(string? Token, X509Certificate2? Certificate, DateTimeOffset? Expires);

/// <summary>Credentials that a program gives, as for EKS, GKE and AKS (Kubernetes: client-go credential plugins, <c>client.authentication.k8s.io/v1</c> and <c>v1beta1</c>).</summary>
/// <remarks>The program is run when a credential is first needed, when the last one has expired, and when the server refuses it. It gets no standard input; what it writes as
/// errors the user sees. Thread-safe: one run at a time, on the caller's thread.</remarks>
internal sealed class CredentialPlugin(CredentialPluginCall call, TimeProvider clock)
{
    private const string Group = "client.authentication.k8s.io/";
    private static readonly TimeSpan Deadline = TimeSpan.FromMinutes(1);

    private readonly Lock _gate = new();
    private PluginCredential? _held;

    public static bool Understands(string? apiVersion) => apiVersion is Group + "v1" or Group + "v1beta1";

    /// <summary>The credential now.</summary>
    /// <exception cref="KubernetesConfigurationException">The program cannot be run, fails, or answers with something else.</exception>
    public PluginCredential Current()
    {
        lock (_gate)
        {
            if (_held is { } held && !(held.Expires <= clock.GetUtcNow())) return held;
            return _held = Read(Run());
        }
    }

    /// <summary>The server refused the credential: the next use asks the program again.</summary>
    public void Forget()
    {
        lock (_gate) _held = null;
    }

    public override string ToString() => $"a credential of {call.Command}";

    private string Run()
    {
        var start = new ProcessStartInfo(Find(), call.Arguments) { RedirectStandardInput = true, RedirectStandardOutput = true, UseShellExecute = false };
        foreach (var (name, value) in call.Variables) start.Environment[name] = value;
        start.Environment["KUBERNETES_EXEC_INFO"] = Asked().ToJsonString();
        try
        {
            using var process = Process.Start(start) ?? throw Problem("could not be started");
            using var late = new CancellationTokenSource(Deadline, TimeProvider.System);
            using var kill = late.Token.Register(() => process.Kill(entireProcessTree: true));
            process.StandardInput.Close();
            var answer = process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            if (late.IsCancellationRequested) throw Problem($"gave no answer within {Deadline.TotalSeconds:0} s");
            return process.ExitCode == 0 ? answer : throw Problem($"ended with {process.ExitCode.ToString(CultureInfo.InvariantCulture)}");
        }
        catch (Exception e) when (e is Win32Exception or IOException)
        {
            throw Problem($"could not be run: {e.Message}", e);
        }
    }

    // Not left to the runtime, which looks into the working directory before PATH: whoever can write there must not become the user's credential.
    private string Find()
    {
        string[] places = call.Command.Contains('/', StringComparison.Ordinal)
            ? [call.Command]
            : [.. (call.Environment("PATH") ?? "").Split(':', StringSplitOptions.RemoveEmptyEntries).Where(Path.IsPathRooted).Select(folder => Path.Combine(folder, call.Command))];
        return Array.Find(places, IsExecutable) ?? throw Problem($"is not installed{(call.InstallHint is { Length: > 0 } hint ? $". {hint.Trim()}" : call.Command.Contains('/', StringComparison.Ordinal) ? "" : ": it is in no folder of PATH")}");
    }

    private static bool IsExecutable(string path) =>
        File.Exists(path) && (OperatingSystem.IsWindows() || (File.GetUnixFileMode(path) & (UnixFileMode.UserExecute | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute)) != 0);

    private JsonObject Asked()
    {
        var spec = new JsonObject { ["interactive"] = false };
        if (call.Cluster is { } cluster) spec["cluster"] = cluster.DeepClone();
        return new JsonObject { ["kind"] = "ExecCredential", ["apiVersion"] = call.ApiVersion, ["spec"] = spec };
    }

    private PluginCredential Read(string answer)
    {
        try
        {
            if (JsonNode.Parse(answer) is not JsonObject credential || Text(credential, "kind") != "ExecCredential") throw Problem("answered with something that is no ExecCredential");
            if (Text(credential, "apiVersion") is var version && version != call.ApiVersion) throw Problem($"answered with {version ?? "no apiVersion"}, not with {call.ApiVersion} as the kubeconfig says");
            var status = credential["status"] as JsonObject ?? throw Problem("answered without a status");
            var (token, certificate, key) = (Text(status, "token"), Text(status, "clientCertificateData"), Text(status, "clientKeyData"));
            if (certificate is null != key is null) throw Problem("gave only one of clientCertificateData and clientKeyData");
            if (token is null && certificate is null) throw Problem("gave neither a token nor a client certificate");
            return new PluginCredential(token, certificate is null ? null : X509Certificate2.CreateFromPem(certificate, key), Expiry(status));
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or CryptographicException)
        {
            throw Problem($"answered with something that cannot be read: {e.Message}", e);
        }
    }

    private DateTimeOffset? Expiry(JsonObject status)
    {
        if (Text(status, "expirationTimestamp") is not { } text) return null;
        return DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var at) ? at : throw Problem($"gave the expirationTimestamp '{text}', which is no time");
    }

    private static string? Text(JsonObject from, string name) => from[name] is { } value ? value.GetValue<string>() is { Length: > 0 } text ? text : null : null;

    private KubernetesConfigurationException Problem(string what, Exception? cause = null) => new($"In {call.Origin}, the credential plugin {call.Command} {what}.", cause);
}
