using System.Globalization;
using System.Text.Json.Nodes;
using AmbientMesh.ControlPlane.Kubernetes;
using AmbientMesh.Kubernetes;

namespace AmbientMesh.ControlPlane.Translation.Policy;

/// <summary>Whether callers must prove an identity.</summary>
internal enum MtlsMode
{
    /// <summary>As the next wider level says.</summary>
    Unset,
    /// <summary>Need not; the same as <see cref="Permissive"/> to ztunnel.</summary>
    Disable,
    Permissive,
    Strict,
}

/// <summary>A PeerAuthentication as read. Equal by content.</summary>
internal sealed class PeerAuthenticationRule : IEquatable<PeerAuthenticationRule>
{
    public required ObjectKey Key { get; init; }
    public required DateTimeOffset Created { get; init; }
    public required WorkloadSelector Selector { get; init; }
    public required MtlsMode Mode { get; init; }

    /// <summary>Modes of single ports, in order of the ports; only ever with a selector.</summary>
    public required IReadOnlyList<KeyValuePair<ushort, MtlsMode>> Ports { get; init; }

    /// <summary>What was not taken as written.</summary>
    public required IReadOnlyList<string> Notes { get; init; }

    /// <summary>The version of the object it was read from; not part of equality.</summary>
    public required ObjectOrigin Origin { get; init; }

    /// <summary>Something in it asks for proof of identity.</summary>
    public bool AsksForIdentity => Mode == MtlsMode.Strict || PortsWith(MtlsMode.Strict).Any();

    public IEnumerable<ushort> PortsWith(params MtlsMode[] modes) => Ports.Where(p => modes.Contains(p.Value)).Select(p => p.Key);

    /// <summary>Of several on one level the oldest counts; null when there is none.</summary>
    public static PeerAuthenticationRule? Oldest(IEnumerable<PeerAuthenticationRule> level) => level.MinBy(rule => (rule.Created, rule.Key));

    /// <summary>Reads the object. A mode that cannot be read is taken for STRICT.</summary>
    /// <exception cref="FormatException">Whom the object is about cannot be read; its last good version has to stay in force.</exception>
    public static PeerAuthenticationRule Of(JsonObject policy)
    {
        List<string> notes = [];
        var spec = PolicyObject.SpecOf(policy);
        var selector = PolicyObject.SelectorOf(spec);
        var mode = ModeOf(spec["mtls"], "mtls", notes);
        var ports = new SortedDictionary<ushort, MtlsMode>();
        if (spec["portLevelMtls"] is JsonObject levels && !selector.IsEmpty)
            foreach (var (name, value) in levels)
            {
                var portMode = ModeOf(value, $"portLevelMtls.{name}", notes);
                if (ushort.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out var port) && port > 0) ports[port] = portMode;
                else if (portMode == MtlsMode.Strict) mode = Unreadable($"portLevelMtls.{name}", notes);
            }
        else if (spec["portLevelMtls"] is JsonObject { Count: > 0 })
            notes.Add("portLevelMtls counts only beside a selector and is left out.");
        else if (spec["portLevelMtls"] is not (null or JsonObject))
            mode = Unreadable("portLevelMtls", notes);
        return new PeerAuthenticationRule
        {
            Key = GenericObjects.KeyOf(policy),
            Created = PolicyObject.CreatedOf(policy),
            Selector = selector,
            Mode = mode,
            Ports = [.. ports],
            Notes = notes,
            Origin = ObjectOrigin.Of(PolicyKinds.PeerAuthentication, policy),
        };
    }

    /// <summary>What stands for an object of which not even the selector can be read, and never could: STRICT for its whole namespace, before any other there.</summary>
    public static PeerAuthenticationRule Closed(JsonObject policy) => new()
    {
        Key = GenericObjects.KeyOf(policy),
        Created = DateTimeOffset.MinValue,
        Selector = new WorkloadSelector(new Dictionary<string, string>()),
        Mode = MtlsMode.Strict,
        Ports = [],
        Notes = ["The object cannot be read and is taken for STRICT."],
        Origin = ObjectOrigin.Of(PolicyKinds.PeerAuthentication, policy),
    };

    private static MtlsMode ModeOf(JsonNode? mtls, string field, List<string> notes)
    {
        if (mtls is null || mtls is JsonObject o && o["mode"] is null) return MtlsMode.Unset;
        return PolicyObject.TextOf((mtls as JsonObject)?["mode"]) switch
        {
            "UNSET" or "" => MtlsMode.Unset,
            "DISABLE" => MtlsMode.Disable,
            "PERMISSIVE" => MtlsMode.Permissive,
            "STRICT" => MtlsMode.Strict,
            _ => Unreadable(field, notes),
        };
    }

    private static MtlsMode Unreadable(string field, List<string> notes)
    {
        notes.Add($"{field} cannot be read and is taken for STRICT.");
        return MtlsMode.Strict;
    }

    public bool Equals(PeerAuthenticationRule? other) =>
        other is not null && Key == other.Key && Created == other.Created && Selector.Equals(other.Selector) && Mode == other.Mode && Ports.SequenceEqual(other.Ports) && Notes.SequenceEqual(other.Notes);

    public override bool Equals(object? obj) => Equals(obj as PeerAuthenticationRule);
    public override int GetHashCode() => Key.GetHashCode();
}
