using System.Text.Json.Nodes;
using AmbientMesh.Kubernetes;
using AmbientMesh.Lab.Api.Http;

namespace AmbientMesh.Integration.Tests.Kubernetes;

/// <summary>The lab's API server with RBAC enforced, reached by our client over TLS with the administrator's kubeconfig.</summary>
internal sealed class ClusterApi : IAsyncDisposable
{
    private readonly string _kubeconfig = Path.GetTempFileName();

    public ApiServer Server { get; } = new(new ApiServerOptions(), TimeProvider.System);
    public KubernetesClient Admin { get; private set; } = null!;

    private string Address => $"https://127.0.0.1:{Server.Addresses[0].Port}";

    public static async Task<ClusterApi> StartAsync()
    {
        var cluster = new ClusterApi();
        await cluster.Server.StartAsync(Patience.Token);
        await File.WriteAllTextAsync(cluster._kubeconfig, cluster.Server.AdminKubeconfig("test", cluster.Address), Patience.Token);
        cluster.Admin = new KubernetesClient(KubernetesConnection.Find(cluster._kubeconfig, _ => null, TimeProvider.System), new KubernetesClientOptions { Name = "admin" });
        return cluster;
    }

    /// <summary>Applies every object of one of our manifests, as <c>kubectl apply --server-side</c> does.</summary>
    public async Task ApplyAsync(string manifest)
    {
        foreach (var o in YamlText.ParseAll(await File.ReadAllTextAsync(Path.Combine(Samples.Root, "deploy", manifest), Patience.Token))) await ApplyAsync(o);
    }

    public async Task<JsonObject> ApplyAsync(JsonObject o, string manager = "admin", bool force = false)
    {
        var types = await Admin.ListResourceTypesAsync(Group(o), Version(o), Patience.Token);
        var type = types.Single(t => t.Kind == (string)o["kind"]!);
        return await Admin.Of(type).ApplyAsync(o, new WriteOptions { FieldManager = manager, Force = force }, Patience.Token);
    }

    /// <summary>A pod that runs: bound to a node, as a kubelet would report it.</summary>
    public async Task<JsonObject> RunPodAsync(string ns, string name, string account, string node)
    {
        var pods = Admin.Of(Pod.Type);
        await pods.CreateAsync(Json($$$"""
            {"metadata":{"namespace":"{{{ns}}}","name":"{{{name}}}"},"spec":{"serviceAccountName":"{{{account}}}","nodeName":"{{{node}}}","containers":[{"name":"c","image":"i"}]}}
            """), null, Patience.Token);
        return await pods.PatchAsync(ns, name, Patch.Merge(Json("""{"status":{"phase":"Running"}}""")), null, Patience.Token, subresource: "status");
    }

    /// <summary>A client with the rights of a ServiceAccount.</summary>
    public async Task<KubernetesClient> ClientOfAsync(string ns, string account)
    {
        var token = await Admin.RequestTokenAsync(ns, account, new TokenRequestSpec(), Patience.Token);
        return new KubernetesClient(new KubernetesConnection { Server = new Uri(Address), Authorities = Admin.Connection.Authorities, Token = BearerToken.Fixed(token.Token!) });
    }

    public static JsonObject Json(string text) => JsonNode.Parse(text)!.AsObject();

    private static string Group(JsonObject o) => (string)o["apiVersion"]! is var version && version.Contains('/') ? version.Split('/')[0] : "";
    private static string Version(JsonObject o) => ((string)o["apiVersion"]!).Split('/')[^1];

    public async ValueTask DisposeAsync()
    {
        Admin.Dispose();
        await Server.DisposeAsync();
        File.Delete(_kubeconfig);
    }
}
