using System.Text.Json;
using System.Text.Json.Nodes;
using AmbientMesh.Kubernetes;

namespace AmbientMesh.Cni.Node.Installation;

/// <summary>The kubeconfig the plugin reads when the agent cannot be asked; JSON, which is YAML too.</summary>
internal static class PluginKubeconfig
{
    /// <summary>The file's text for a server, its authorities (PEM) and a token.</summary>
    public static string For(Uri server, string? authoritiesPem, string token)
    {
        var cluster = new JsonObject { ["server"] = server.GetLeftPart(UriPartial.Authority) };
        if (authoritiesPem is not null) cluster["certificate-authority-data"] = Convert.ToBase64String(System.Text.Encoding.UTF8.GetBytes(authoritiesPem));
        var config = new JsonObject
        {
            ["apiVersion"] = "v1",
            ["kind"] = "Config",
            ["clusters"] = new JsonArray(new JsonObject { ["name"] = "local", ["cluster"] = cluster }),
            ["users"] = new JsonArray(new JsonObject { ["name"] = "istio-cni", ["user"] = new JsonObject { ["token"] = token } }),
            ["contexts"] = new JsonArray(new JsonObject { ["name"] = "istio-cni-context", ["context"] = new JsonObject { ["cluster"] = "local", ["user"] = "istio-cni" } }),
            ["current-context"] = "istio-cni-context",
        };
        return config.ToJsonString(new JsonSerializerOptions { WriteIndented = true }) + "\n";
    }

    /// <summary>The same for the agent's own connection; null when it has no token to pass on.</summary>
    public static string? For(KubernetesConnection connection) => connection.Token is not { } token
        ? null
        : For(connection.Server, connection.Authorities is { Count: > 0 } authorities ? authorities.ExportCertificatePems() : null, token.Current());
}
