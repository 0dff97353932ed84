using AmbientMesh.ControlPlane.Settings;
using AmbientMesh.ControlPlane.Translation.Entries;
using AmbientMesh.Kubernetes;

namespace AmbientMesh.ControlPlane.Tests.Settings;

/// <summary>A mistake in <c>serviceEntryVisibility</c> publishes no host to everyone, and is named.</summary>
public sealed class VisibilityConfigurationTests
{
    private static EntryVisibilityRules? Read(string yaml) => VisibilityConfiguration.Of(new ConfigMap
    {
        Metadata = new ObjectMeta { Name = "istio", Namespace = "istio-system" },
        Data = new Dictionary<string, string> { ["mesh"] = yaml },
    });

    private static readonly Dictionary<string, string> Labels = new() { ["team"] = "a" };

    [Theory]
    [InlineData("trustDomain: x")]
    [InlineData("serviceEntryVisibility:")]
    [InlineData("serviceEntryVisibility: null")]
    public void Saying_nothing_is_no_mistake(string yaml) => Assert.Null(Read(yaml));

    [Theory]
    [InlineData("{}", EntryVisibility.Public)]
    [InlineData("{defaultVisibility: none}", EntryVisibility.None)]
    [InlineData("{policies: [{visibility: PUBLIC, matchingRules: [{namespaceSelector: {matchLabels: {team: a}}}]}], defaultVisibility: NONE}", EntryVisibility.Public)]
    [InlineData("{policies: [{visibility: PUBLIC, matchingRules: [{namespaceSelector: {matchLabels: {team: b}}}]}], defaultVisibility: NONE}", EntryVisibility.None)]
    [InlineData("{policies: [{visibility: PUBLIC, matchingRules: [{namespaceSelector: {matchExpressions: [{key: team, operator: NotIn, values: [b]}]}}]}], defaultVisibility: NONE}", EntryVisibility.Public)]
    [InlineData("{policies: [{visibility: PUBLIC, matchingRules: [{namespaceSelector: {}}]}], defaultVisibility: NONE}", EntryVisibility.Public)]
    [InlineData("{policies: [{visibility: PUBLIC}], defaultVisibility: NONE}", EntryVisibility.Public)]
    public void What_is_well_formed_holds(string rules, EntryVisibility expected)
    {
        var read = Read($"serviceEntryVisibility: {rules}")!;
        Assert.Equal(expected, read.Of(Labels));
        Assert.Empty(read.Problems);
    }

    [Theory]
    [InlineData("PUBLIC")]
    [InlineData("[PUBLIC]")]
    [InlineData("{defaultVisibility: [PUBLIC]}")]
    [InlineData("{defaultVisibility: PUBLICK}")]
    [InlineData("{policies: {visibility: NONE}}")]
    [InlineData("{policies: [NONE]}")]
    [InlineData("{policies: [{visibility: PUBLIC, matchingRules: {namespaceSelector: {matchLabels: {team: b}}}}]}")]
    [InlineData("{policies: [{visibility: PUBLIC, matchingRules: [team]}]}")]
    [InlineData("{policies: [{visibility: PUBLIC, matchingRules: [{namespaceSelecto: {}}]}]}")]
    [InlineData("{policies: [{visibility: PUBLIC, matchingRules: [{namespaceSelector: team}]}]}")]
    [InlineData("{policies: [{visibility: PUBLIC, matchingRules: [{namespaceSelector: {matchLabels: [team]}}]}]}")]
    [InlineData("{policies: [{visibility: PUBLIC, matchingRules: [{namespaceSelector: {matchLabels: {[team]: a}}}]}]}")]
    [InlineData("{policies: [{visibility: PUBLIC, matchingRules: [{namespaceSelector: {matchLabels: {team: [a]}}}]}]}")]
    [InlineData("{policies: [{visibility: PUBLIC, matchingRules: [{namespaceSelector: {matchExpressions: {key: team, operator: Exists}}}]}]}")]
    [InlineData("{policies: [{visibility: PUBLIC, matchingRules: [{namespaceSelector: {matchExpressions: [team]}}]}]}")]
    [InlineData("{policies: [{visibility: PUBLIC, matchingRules: [{namespaceSelector: {matchExpressions: [{key: x, operator: NotIn, values: b}]}}]}]}")]
    [InlineData("{policies: [{visibility: PUBLIC, matchingRules: [{namespaceSelector: {matchExpressions: [{key: x, operator: NotIn}]}}]}]}")]
    [InlineData("{policies: [{visibility: PUBLIC, matchingRules: [{namespaceSelector: {matchExpressions: [{operator: DoesNotExist}]}}]}]}")]
    [InlineData("{policies: [{visibility: PUBLIC, matchingRules: [{namespaceSelector: {matchExpressions: [{key: x, operator: Lacks}]}}]}]}")]
    public void What_is_not_well_formed_hides_and_is_told(string rules)
    {
        var read = Read($"serviceEntryVisibility: {rules}")!;
        Assert.Equal(EntryVisibility.Namespace, read.Of(Labels));
        Assert.NotEmpty(read.Problems);
    }
}
