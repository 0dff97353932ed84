using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;

namespace AmbientMesh.Cni.Plugin;

/// <summary>It could not be found out whether a pod belongs into the mesh; the pod must not start.</summary>
internal sealed class EligibilityUnknownException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>Asks the API server for a pod and its namespace and compares their labels, when there is no agent to ask. Source: reference 9.1 and 9.6.</summary>
internal static class ApiEligibility
{
    private static readonly TimeSpan s_timeout = TimeSpan.FromSeconds(5);

    /// <exception cref="EligibilityUnknownException">No kubeconfig, no answer, no such pod.</exception>
    public static bool IsEligible(PluginCall call)
    {
        var access = ReadKubeconfig(Path.Combine(call.RunFolder, "istio-cni-kubeconfig"));
        try
        {
            using var http = Client(access);
            using var pod = Get(http, $"/api/v1/namespaces/{call.PodNamespace}/pods/{call.PodName}");
            if (IsNeverEnrolled(pod.RootElement)) return false;
            using var ns = Get(http, $"/api/v1/namespaces/{call.PodNamespace}");
            return EnrollmentSelector.Any(call.Selectors, Map(pod.RootElement, "labels"), Map(ns.RootElement, "labels"));
        }
        catch (Exception e) when (e is HttpRequestException or IOException or JsonException or InvalidOperationException or OperationCanceledException or CryptographicException)
        {
            throw new EligibilityUnknownException($"{access.Server}: {e.Message}", e);
        }
    }

    internal static bool IsNeverEnrolled(JsonElement pod) =>
        (pod.TryGetProperty("spec", out var spec) && spec.TryGetProperty("hostNetwork", out var host) && host.ValueKind == JsonValueKind.True)
        || Map(pod, "annotations").ContainsKey("sidecar.istio.io/status");

    private static HttpClient Client(ApiAccess access)
    {
        var handler = new SocketsHttpHandler { ConnectTimeout = s_timeout, UseProxy = false, UseCookies = false, AllowAutoRedirect = false };
        if (access.AuthoritiesPem is { } pem)
        {
            var authorities = new X509Certificate2Collection();
            authorities.ImportFromPem(pem);
            var policy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
            policy.CustomTrustStore.AddRange(authorities);
            handler.SslOptions.CertificateChainPolicy = policy;
        }
        var client = new HttpClient(handler) { BaseAddress = access.Server, Timeout = s_timeout };
        client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", access.Token);
        return client;
    }

    private static JsonDocument Get(HttpClient client, string path)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, path);
        using var answer = client.Send(request);
        if (answer.StatusCode != HttpStatusCode.OK) throw new HttpRequestException($"GET {path} was answered with {(int)answer.StatusCode}");
        using var body = answer.Content.ReadAsStream();
        return JsonDocument.Parse(body);
    }

    private static Dictionary<string, string> Map(JsonElement o, string name)
    {
        var map = new Dictionary<string, string>(StringComparer.Ordinal);
        if (!o.TryGetProperty("metadata", out var metadata) || !metadata.TryGetProperty(name, out var labels) || labels.ValueKind != JsonValueKind.Object) return map;
        foreach (var label in labels.EnumerateObject()) map[label.Name] = label.Value.GetString() ?? "";
        return map;
    }

    private sealed record ApiAccess(Uri Server, string? AuthoritiesPem, string Token);

    // The file the agent writes is JSON: { clusters: [ { cluster: { server, certificate-authority-data } } ], users: [ { user: { token } } ] }
    private static ApiAccess ReadKubeconfig(string path)
    {
        try
        {
            using var document = JsonDocument.Parse(File.ReadAllBytes(path));
            var cluster = document.RootElement.GetProperty("clusters")[0].GetProperty("cluster");
            var token = document.RootElement.GetProperty("users")[0].GetProperty("user").GetProperty("token").GetString() ?? "";
            var authorities = cluster.TryGetProperty("certificate-authority-data", out var data) ? Encoding.UTF8.GetString(data.GetBytesFromBase64()) : null;
            return new ApiAccess(new Uri(cluster.GetProperty("server").GetString() ?? ""), authorities, token);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException or InvalidOperationException or KeyNotFoundException or IndexOutOfRangeException or FormatException)
        {
            throw new EligibilityUnknownException($"the kubeconfig {path} cannot be used: {e.Message}", e);
        }
    }
}
