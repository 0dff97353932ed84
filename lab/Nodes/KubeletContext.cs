using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Storage;
using AmbientMesh.Lab.Controllers;

namespace AmbientMesh.Lab.Nodes;

/// <summary>What the kubelet of one node works with.</summary>
internal sealed record KubeletContext(
    NodeHost Node, Cgroups Cgroups, ImageStore Images, ClusterStore Store, EventRecorder Events, TokenSource Tokens, TimeProvider Clock, IReadOnlyList<string> NodeAddresses)
    : IEnvironmentSources
{
    public CniChain Cni { get; } = new(Node);

    public JsonObject? ConfigMap(string ns, string name) => Store.TryGet(Resources.ConfigMaps, ns, name);
    public JsonObject? Secret(string ns, string name) => Store.TryGet(Resources.Secrets, ns, name);
    public IEnumerable<JsonObject> Services(string ns) => Store.List(Resources.Services, new Selection(ns)).Items;
    JsonObject? IEnvironmentSources.Node(string name) => Store.TryGet(Resources.Nodes, "", name);
}

/// <summary>What the containers of one pod share.</summary>
internal interface IPodContext
{
    KubeletContext Kubelet { get; }

    /// <summary>The newest object, with the addresses the kubelet knows.</summary>
    JsonObject Pod { get; }

    PodSandbox Sandbox { get; }
    IReadOnlyDictionary<string, string> Volumes { get; }

    /// <summary>The address probes go to.</summary>
    string Address { get; }

    /// <summary>Something to show has changed.</summary>
    void Publish();
}
