using System.Collections.Frozen;
using System.Globalization;
using System.Net;
using AmbientMesh.Protocol.Security;
using Google.Protobuf;

namespace AmbientMesh.ControlPlane.Translation.Policy;

/// <summary>The attributes ztunnel can judge (reference 5.4), by the names policies use for them, and how their values stand on the wire. Pure.</summary>
internal static class PolicyAttributes
{
    private const string SpiffeScheme = "spiffe://";

    /// <summary>Writes the values into a match. Values are all converted before any is added, so a bad one adds nothing.</summary>
    /// <exception cref="FormatException">A value cannot be used.</exception>
    public delegate void Writer(Match into, IReadOnlyList<string> values, string policyNamespace);

    private static readonly FrozenDictionary<string, Writer> OfSource = new Dictionary<string, Writer>
    {
        ["principals"] = (m, v, _) => m.Principals.Add(v.Select(Principal).ToList()),
        ["notPrincipals"] = (m, v, _) => m.NotPrincipals.Add(v.Select(Principal).ToList()),
        ["namespaces"] = (m, v, _) => m.Namespaces.Add(v.Select(Text).ToList()),
        ["notNamespaces"] = (m, v, _) => m.NotNamespaces.Add(v.Select(Text).ToList()),
        ["ipBlocks"] = (m, v, _) => m.SourceIps.Add(v.Select(Range).ToList()),
        ["notIpBlocks"] = (m, v, _) => m.NotSourceIps.Add(v.Select(Range).ToList()),
        ["serviceAccounts"] = (m, v, ns) => m.ServiceAccounts.Add(v.Select(a => Account(a, ns)).ToList()),
        ["notServiceAccounts"] = (m, v, ns) => m.NotServiceAccounts.Add(v.Select(a => Account(a, ns)).ToList()),
    }.ToFrozenDictionary();

    private static readonly FrozenDictionary<string, Writer> OfOperation = new Dictionary<string, Writer>
    {
        ["ports"] = (m, v, _) => m.DestinationPorts.Add(v.Select(Port).ToList()),
        ["notPorts"] = (m, v, _) => m.NotDestinationPorts.Add(v.Select(Port).ToList()),
    }.ToFrozenDictionary();

    private static readonly FrozenDictionary<string, (Writer Values, Writer NotValues)> OfCondition = new Dictionary<string, (Writer, Writer)>
    {
        ["source.ip"] = (OfSource["ipBlocks"], OfSource["notIpBlocks"]),
        ["source.namespace"] = (OfSource["namespaces"], OfSource["notNamespaces"]),
        ["source.principal"] = (OfSource["principals"], OfSource["notPrincipals"]),
        ["destination.ip"] = ((m, v, _) => m.DestinationIps.Add(v.Select(Range).ToList()), (m, v, _) => m.NotDestinationIps.Add(v.Select(Range).ToList())),
        ["destination.port"] = (OfOperation["ports"], OfOperation["notPorts"]),
    }.ToFrozenDictionary();

    /// <summary>Null for what ztunnel cannot judge.</summary>
    public static Writer? Source(string field) => OfSource.GetValueOrDefault(field);

    /// <inheritdoc cref="Source"/>
    public static Writer? Operation(string field) => OfOperation.GetValueOrDefault(field);

    /// <summary>For <c>values</c> and <c>notValues</c> of a <c>when</c> key; null for a key ztunnel cannot judge.</summary>
    public static Writer? Condition(string key, string field) =>
        !OfCondition.TryGetValue(key, out var writers) ? null : field switch { "values" => writers.Values, "notValues" => writers.NotValues, _ => null };

    /// <summary><c>*</c>: any that is not empty; <c>*x</c>: ends with x; <c>x*</c>: begins with x; otherwise exactly this.</summary>
    public static StringMatch Text(string value) => value switch
    {
        "*" => new StringMatch { Presence = new() },
        ['*', ..] => new StringMatch { Suffix = value[1..] },
        [.., '*'] => new StringMatch { Prefix = value[..^1] },
        _ => new StringMatch { Exact = value },
    };

    // Ztunnel compares identities without their scheme, so a policy that writes it would never match.
    private static StringMatch Principal(string value) => Text(value.StartsWith(SpiffeScheme, StringComparison.Ordinal) && value.Length > SpiffeScheme.Length ? value[SpiffeScheme.Length..] : value);

    private static ServiceAccountMatch Account(string value, string policyNamespace) => value.Split('/') switch
    {
        [{ Length: > 0 } account] => new ServiceAccountMatch { Namespace = policyNamespace, ServiceAccount = account },
        [{ Length: > 0 } ns, { Length: > 0 } account] => new ServiceAccountMatch { Namespace = ns, ServiceAccount = account },
        _ => throw new FormatException($"'{value}' is not a service account; expected <name> or <namespace>/<name>."),
    };

    private static uint Port(string value) =>
        ushort.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out var port) && port > 0 ? port : throw new FormatException($"'{value}' is not a port; expected 1 to 65535.");

    private static Address Range(string value)
    {
        var slash = value.IndexOf('/');
        if (!IPAddress.TryParse(slash < 0 ? value : value[..slash], out var address)) throw NoRange(value);
        var bytes = address.GetAddressBytes();
        var length = bytes.Length * 8;
        if (slash >= 0 && (!int.TryParse(value.AsSpan(slash + 1), NumberStyles.None, CultureInfo.InvariantCulture, out length) || length > bytes.Length * 8)) throw NoRange(value);
        for (var bit = length; bit < bytes.Length * 8; bit++) bytes[bit / 8] &= (byte)~(0x80 >> (bit % 8));   // bits of the host say nothing
        return new Address { Address_ = ByteString.CopyFrom(bytes), Length = (uint)length };
    }

    private static FormatException NoRange(string value) => new($"'{value}' is not an IP address or a CIDR range.");
}
