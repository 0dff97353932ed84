using AmbientMesh.Kubernetes;
using YamlDotNet.RepresentationModel;

namespace AmbientMesh.ControlPlane.Settings;

/// <summary>What the control plane takes from the mesh configuration: ConfigMap <c>istio</c> of the system namespace, key <c>mesh</c> (reference 12.4).</summary>
/// <param name="TrustDomain">Null when not set.</param>
/// <param name="RootNamespace">Null when not set.</param>
/// <remarks>Read once at start: a trust domain does not change under running certificates. What may change while running is read by <see cref="VisibilityConfiguration"/>.</remarks>
public sealed record MeshConfiguration(string? TrustDomain, string? RootNamespace)
{
    public const string ConfigMapName = "istio";
    private const string Key = "mesh";

    public static MeshConfiguration None { get; } = new(null, null);

    /// <exception cref="FormatException">The value is not a YAML mapping; the message names the ConfigMap.</exception>
    public static MeshConfiguration Of(ConfigMap? map) => RootOf(map) is { } root ? new MeshConfiguration(Scalar(root, "trustDomain"), Scalar(root, "rootNamespace")) : None;

    /// <summary>The configuration as YAML; null when there is none.</summary>
    /// <inheritdoc cref="Of" path="/exception"/>
    internal static YamlMappingNode? RootOf(ConfigMap? map)
    {
        if (map is null || !map.Data.TryGetValue(Key, out var text) || string.IsNullOrWhiteSpace(text)) return null;
        try
        {
            return BoundedYaml.Load(text, allowsAliases: true) switch
            {
                null => null,   // comments only
                YamlMappingNode root => root,
                _ => throw new FormatException("it is not a YAML mapping"),
            };
        }
        catch (FormatException problem)
        {
            throw new FormatException($"ConfigMap {map.Key}, key {Key}, cannot be read: {problem.Message}", problem);
        }
    }

    private static string? Scalar(YamlMappingNode root, string name) =>
        root.Children.TryGetValue(name, out var node) && node is YamlScalarNode { Value: { Length: > 0 } value } ? value : null;
}
