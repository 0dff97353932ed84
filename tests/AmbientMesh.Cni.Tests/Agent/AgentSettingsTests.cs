using AmbientMesh.Cni.Node;

namespace AmbientMesh.Cni.Tests.Agent;

public sealed class AgentSettingsTests
{
    [Fact]
    public void The_page_of_settings_names_every_variable_with_its_default() => SettingsPage.Of("istio-cni-node").IsTrueOf(
        new Dictionary<string, string> { ["NODE_NAME"] = "node-1", ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://collector:4318" }, environment => AgentSettings.Read(environment.Find));

    [Theory]
    [InlineData("LOG_FORMAT", "yaml", "LOG_FORMAT is 'yaml': expected text or json")]
    [InlineData("AMBIENT_IPV6", "maybe", "AMBIENT_IPV6 is 'maybe': expected true or false")]
    [InlineData("NODE_NAME", "", "NODE_NAME is not set.")]
    public void A_value_that_cannot_be_used_is_named(string name, string value, string problem)
    {
        var environment = new Dictionary<string, string> { ["NODE_NAME"] = "node-1", [name] = value };

        Assert.Equal([problem], AgentSettings.Read(environment.GetValueOrDefault).Problems);
    }

    [Theory]
    [InlineData("json", true)]
    [InlineData("text", false)]
    public void Lines_are_written_in_the_format_that_is_asked_for(string format, bool isJson) =>
        Assert.Equal(isJson, AgentSettings.Read(new Dictionary<string, string> { ["NODE_NAME"] = "node-1", ["LOG_FORMAT"] = format }.GetValueOrDefault).Settings.LogsAsJson);
}
