using System.Text.Json.Nodes;

namespace AmbientMesh.Lab.Api.Access;

/// <summary>Who a request comes from.</summary>
public sealed record UserInfo(string Name, IReadOnlyList<string> Groups)
{
    public string Uid { get; init; } = "";
    public IReadOnlyDictionary<string, IReadOnlyList<string>> Extra { get; init; } = new Dictionary<string, IReadOnlyList<string>>(StringComparer.Ordinal);

    public static UserInfo Anonymous { get; } = new("system:anonymous", ["system:unauthenticated"]);

    /// <summary>As TokenReview and SelfSubjectReview show it.</summary>
    public JsonObject ToJson()
    {
        var json = new JsonObject { ["username"] = Name };
        if (Uid.Length > 0) json["uid"] = Uid;
        json["groups"] = new JsonArray([.. Groups.Select(g => (JsonNode)JsonValue.Create(g)!)]);
        if (Extra.Count == 0) return json;
        var extra = new JsonObject();
        foreach (var (key, values) in Extra.OrderBy(e => e.Key, StringComparer.Ordinal))
            extra[key] = new JsonArray([.. values.Select(v => (JsonNode)JsonValue.Create(v)!)]);
        json["extra"] = extra;
        return json;
    }
}
