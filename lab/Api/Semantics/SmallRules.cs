using System.Net;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;

namespace AmbientMesh.Lab.Api.Semantics;

/// <summary>EndpointSlices: ports have defaults, addresses belong to the slice's family.</summary>
internal sealed class EndpointSliceRule : KindRule
{
    public override bool HasGeneration => true;

    public override void Default(JsonObject o)
    {
        foreach (var port in o.Objects("ports"))
        {
            port.Default("name", "");
            port.Default("protocol", "TCP");
        }
    }

    public override IEnumerable<FieldError> Validate(JsonObject o, JsonObject? old)
    {
        var type = o.Text("addressType") ?? "";
        if (type is not ("IPv4" or "IPv6" or "FQDN"))
            yield return type.Length == 0 ? FieldError.Required("addressType") : FieldError.Unsupported("addressType", FieldError.Quote(type), ["FQDN", "IPv4", "IPv6"]);
        if (old is not null && old.Text("addressType") != type) yield return FieldError.InvalidText("addressType", type, "field is immutable");
        var endpoints = o.Objects("endpoints").ToList();
        for (var i = 0; i < endpoints.Count; i++)
        {
            var addresses = endpoints[i].Texts("addresses").ToList();
            if (addresses.Count == 0) yield return FieldError.Required($"endpoints[{i}].addresses", "must contain at least 1 address");
            for (var j = 0; j < addresses.Count; j++)
                if (Family(type) is { } family && (!IPAddress.TryParse(addresses[j], out var ip) || ip.AddressFamily != family))
                    yield return FieldError.InvalidText($"endpoints[{i}].addresses", addresses[j], $"must be an {type} address");
        }
    }

    private static AddressFamily? Family(string type) => type switch { "IPv4" => AddressFamily.InterNetwork, "IPv6" => AddressFamily.InterNetworkV6, _ => null };
}

/// <summary>Leases: a duration is positive.</summary>
internal sealed class LeaseRule : KindRule
{
    public override IEnumerable<FieldError> Validate(JsonObject o, JsonObject? old)
    {
        if (o.Number("spec", "leaseDurationSeconds") is <= 0 and var seconds)
            yield return FieldError.Invalid("spec.leaseDurationSeconds", $"{seconds}", "must be greater than 0");
        if (o.Number("spec", "leaseTransitions") is < 0 and var transitions)
            yield return FieldError.Invalid("spec.leaseTransitions", $"{transitions}", "must be greater than or equal to 0");
    }
}
