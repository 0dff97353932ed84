using Xunit.v3;

namespace AmbientMesh.Testing;

/// <summary>Marks a test with the scenario ids of the reference it proves (L4-070, T-03, …); <c>docs/CONFORMANCE.md</c> is made from these.</summary>
[AttributeUsage(AttributeTargets.Method | AttributeTargets.Class, AllowMultiple = true)]
public sealed class ScenarioAttribute(params string[] ids) : Attribute, ITraitAttribute
{
    public IReadOnlyCollection<KeyValuePair<string, string>> GetTraits() => [.. ids.Select(id => new KeyValuePair<string, string>("Scenario", id))];
}
