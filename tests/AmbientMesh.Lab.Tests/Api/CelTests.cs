using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.CustomResources.Cel;
using AmbientMesh.Lab.Api.Http;
using AmbientMesh.Lab.Api.Objects;

namespace AmbientMesh.Lab.Tests.Api;

/// <summary>The validation rules of published definitions, read and evaluated.</summary>
public sealed class CelTests
{
    [Theory]
    [InlineData("gateway-api-v1.6.1-standard.yaml")]
    [InlineData("gateway-api-v1.6.1-experimental.yaml")]
    [InlineData("istio-1.32-dev.yaml")]
    public void Every_rule_of_a_published_definition_can_be_read(string file)
    {
        var rules = YamlText.ParseAll(Samples.Text($"crds/{file}")).SelectMany(Rules).Distinct(StringComparer.Ordinal).ToList();
        Assert.NotEmpty(rules);
        var unread = rules.Where(r => Problem(r) is not null).Select(r => $"{r}: {Problem(r)}").ToList();
        Assert.True(unread.Count == 0, string.Join("\n", unread));
    }

    private static string? Problem(string rule)
    {
        try
        {
            CelParser.Parse(rule);
            return null;
        }
        catch (CelException e)
        {
            return e.Message;
        }
    }

    private static IEnumerable<string> Rules(JsonNode? node) => node switch
    {
        JsonObject o => o.Objects("x-kubernetes-validations").Select(v => v.Text("rule") ?? "").Concat(o.SelectMany(p => Rules(p.Value))),
        JsonArray a => a.SelectMany(Rules),
        _ => [],
    };

    [Theory]
    [InlineData("!has(self.note) || self.replicas > 0", """{"note":"a","replicas":0}""", false)]
    [InlineData("self.items.all(l1, self.items.exists_one(l2, l1.name == l2.name))", """{"items":[{"name":"a"},{"name":"a"}]}""", false)]
    [InlineData("self.items.filter(f, f.type == 'CORS').size() <= 1", """{"items":[{"type":"CORS"},{"type":"X"}]}""", true)]
    [InlineData("(has(self.a) ? 1 : 0) + (has(self.b) ? 1 : 0) <= 1", """{"a":1,"b":2}""", false)]
    [InlineData("duration(self.d) >= duration('1ms')", """{"d":"0s"}""", false)]
    [InlineData("self.v.matches('^[a-z]+$')", """{"v":"abc"}""", true)]
    [InlineData("self.v.startsWith('unix://') ? self.v.substring(7, 8) == '/' : true", """{"v":"unix://x"}""", false)]
    [InlineData("url(self.v).getScheme() in ['http', 'https']", """{"v":"https://a.example/x"}""", true)]
    [InlineData("!isIP(self.v)", """{"v":"10.0.0.1"}""", false)]
    [InlineData("'a' in self.m && self.m['a'] == 1", """{"m":{"a":1}}""", true)]
    [InlineData("true || self.missing.x", "{}", true)]
    public void Rules_hold_or_break(string rule, string self, bool holds) => Assert.Equal(holds, new CelEvaluator().Bind("self", JsonNode.Parse(self)).Evaluate(CelParser.Parse(rule)));

    [Theory]
    [InlineData("self.missing > 1")]
    [InlineData("unknownFunction(self)")]
    [InlineData("self.a + 1")]
    public void What_has_no_value_is_said_so(string rule) => Assert.Throws<CelException>(() => new CelEvaluator().Bind("self", new JsonObject { ["a"] = "x" }).Evaluate(CelParser.Parse(rule)));
}
