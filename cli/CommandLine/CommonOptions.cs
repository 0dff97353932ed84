using System.CommandLine;
using AmbientMesh.Cli.Output;
using AmbientMesh.Cli.Reaching;

namespace AmbientMesh.Cli.CommandLine;

/// <summary>The options every command takes, with kubectl's names where kubectl has them.</summary>
public sealed class CommonOptions
{
    public Option<string?> Kubeconfig { get; } = new("--kubeconfig") { Description = "Path of the kubeconfig; else KUBECONFIG, the pod's own account, ~/.kube/config", HelpName = "file", Recursive = true };
    public Option<string?> Context { get; } = new("--context") { Description = "Context of the kubeconfig; else its current one", HelpName = "name", Recursive = true };
    public Option<string?> Namespace { get; } = new("--namespace", "-n") { Description = "Namespace of names given without one; else the context's", HelpName = "namespace", Recursive = true };
    public Option<string> MeshNamespace { get; } = new("--mesh-namespace", "-i", "--istioNamespace") { Description = "Namespace the mesh is installed in", HelpName = "namespace", Recursive = true, DefaultValueFactory = _ => "istio-system" };
    public Option<OutputFormat> Output { get; } = new("--output", "-o") { Description = "table, json, yaml or short", HelpName = "format", Recursive = true, DefaultValueFactory = _ => OutputFormat.Table };

    public void AddTo(Command root)
    {
        Output.CustomParser = OutputFormats.Parse;
        Output.CompletionSources.Add("table", "json", "yaml", "short");
        root.Options.Add(Kubeconfig);
        root.Options.Add(Context);
        root.Options.Add(Namespace);
        root.Options.Add(MeshNamespace);
        root.Options.Add(Output);
    }

    /// <summary>The cluster the options mean.</summary>
    /// <exception cref="Kubernetes.KubernetesConfigurationException">The kubeconfig is missing or unusable.</exception>
    public MeshCluster Open(ParseResult options, Surroundings surroundings) => MeshCluster.Open(
        new ClusterChoice(options.GetValue(Kubeconfig), options.GetValue(Context), options.GetValue(Namespace), options.GetValue(MeshNamespace)!), surroundings);
}
