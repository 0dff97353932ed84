using System.Collections.Immutable;
using System.Net;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using AmbientMesh.ControlPlane.Discovery;
using AmbientMesh.ControlPlane.Tests.Translation;
using AmbientMesh.ControlPlane.Translation;
using AmbientMesh.ControlPlane.Translation.Policy;
using AmbientMesh.Kubernetes;
using AmbientMesh.Model;
using AmbientMesh.Model.Authorization;
using AmbientMesh.Model.Decoding;

namespace AmbientMesh.ControlPlane.Tests.Policy;

/// <summary>Policies beside pods: what they become, and what a ztunnel that got it would decide.</summary>
internal sealed class PolicyWorld(MeshScope? scope = null)
{
    public TranslationWorld Objects { get; } = new(scope);

    private PolicyCollections Policies => Objects.Mesh.Policies;

    public PolicyWorld With(string yaml) => With(KubernetesObjects.JsonOfYaml(yaml));

    public PolicyWorld With(params IEnumerable<JsonObject> documents)
    {
        var all = documents.ToList();
        Objects.Graph.Apply(() =>
        {
            foreach (var policy in all) Set(policy);
        });
        Objects.With(all.Where(d => !IsPolicy(d)).Select(d => KubernetesObjects.Typed(d)));
        return this;
    }

    public void Remove(string kind, string ns, string name) => Objects.Graph.Apply(() =>
        (kind == "AuthorizationPolicy" ? Policies.AuthorizationPolicies : Policies.PeerAuthentications).Remove(new ObjectKey(ns, name)));

    public PolicyVerdict VerdictOn(string ns, string name) =>
        (Policies.AuthorizationPolicyReports.Find(new ObjectKey(ns, name)) ?? Policies.PeerAuthenticationReports.Find(new ObjectKey(ns, name)))!.Verdict;

    /// <summary>The names the pod's workload lists.</summary>
    public IReadOnlyList<string> NamedBy(string ns, string pod) => [.. Objects.Workload($"Kubernetes//Pod/{ns}/{pod}").AuthorizationPolicies];

    /// <summary>Judges a connection as a ztunnel holding all this would (reference 5.3).</summary>
    /// <param name="peer">An identity, or null for plaintext.</param>
    public AuthorizationVerdict Judge(string ns, string pod, string? peer, int port = 8080, string source = "10.1.1.1")
    {
        var named = NamedBy(ns, pod);
        var applying = Objects.Mesh.Authorizations.Items
            .Select(i => PolicyDecoding.TryDecode(i.Value, out var policy, out var reason) ? (Name: i.Key, Policy: policy) : throw new FormatException($"{i.Key}: {reason}"))
            .Where(p => p.Policy.Scope == PolicyScope.Global || (p.Policy.Scope == PolicyScope.Namespace && p.Policy.Key.Namespace == ns) || (p.Policy.Scope == PolicyScope.WorkloadSelector && named.Contains(p.Name)))
            .Select(p => p.Policy).ToImmutableArray();
        SpiffeId? identity = peer is null ? null : SpiffeId.TryParse(peer, out var id, out _) ? id : throw new FormatException(peer);
        return Authorizer.Decide(
            new EffectivePolicies([.. applying.Where(p => !p.IsDryRun)], [.. applying.Where(p => p.IsDryRun)], []),
            new ConnectionFacts(identity, IPAddress.Parse(source), new IPEndPoint(IPAddress.Parse("10.244.0.9"), port)));
    }

    public bool Allows(string ns, string pod, string? peer, int port = 8080, string source = "10.1.1.1") => Judge(ns, pod, peer, port, source) is AuthorizationVerdict.Allowed;

    /// <summary>Everything that follows: policies, who names them, what their authors are told.</summary>
    public string Text()
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer, new JsonWriterOptions { Indented = true, Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            json.WriteStartObject("authorizations");
            foreach (var (name, message) in Objects.Mesh.Authorizations.Items.OrderBy(i => i.Key, StringComparer.Ordinal))
            {
                json.WritePropertyName(name);
                ResourceText.Write(json, message);
            }
            json.WriteEndObject();
            json.WriteStartObject("named by");
            foreach (var (name, address) in Objects.Mesh.Addresses.Items.OrderBy(i => i.Key, StringComparer.Ordinal))
                if (address.Message.Workload is { } workload) json.WriteString(name, string.Join(", ", workload.AuthorizationPolicies));
            json.WriteEndObject();
            json.WriteStartObject("verdicts");
            foreach (var (key, report) in Policies.AuthorizationPolicyReports.Items.Concat(Policies.PeerAuthenticationReports.Items).OrderBy(i => i.Key))
                json.WriteString($"{report.Type.Kind} {key}", $"{(report.Verdict.IsAccepted ? "True" : "False")} {report.Verdict.Reason}: {report.Verdict.Message}");
            json.WriteEndObject();
            json.WriteEndObject();
        }
        return Encoding.UTF8.GetString(buffer.ToArray()) + "\n";
    }

    private void Set(JsonObject document)
    {
        if (!IsPolicy(document)) return;
        ((string?)document["kind"] == "AuthorizationPolicy" ? Policies.AuthorizationPolicies : Policies.PeerAuthentications).Set(GenericObjects.KeyOf(document), document);
    }

    private static bool IsPolicy(JsonObject document) => (string?)document["kind"] is "AuthorizationPolicy" or "PeerAuthentication";
}
