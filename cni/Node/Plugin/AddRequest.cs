using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace AmbientMesh.Cni.Node.Plugin;

/// <summary>The body of <c>POST /cmdadd</c>. Source: reference 9.5; <see cref="PodUid"/> is our own addition and may be absent.</summary>
internal sealed record AddRequest
{
    public string? Netns { get; init; }
    public string? PodName { get; init; }
    public string? PodNamespace { get; init; }
    [JsonPropertyName("PodUID")] public string? PodUid { get; init; }
    public IReadOnlyList<AddedAddress?>? IPs { get; init; }

    /// <summary>The pod's addresses, IPv4-mapped ones as IPv4.</summary>
    [JsonIgnore] public IReadOnlyList<IPAddress> Addresses => [.. (IPs ?? []).Select(ip => ip?.Address?.Parse()).OfType<IPAddress>()];

    /// <summary>Reads a body; on failure <paramref name="problem"/> names what is wrong.</summary>
    public static bool TryRead(ReadOnlySpan<byte> body, [NotNullWhen(true)] out AddRequest? request, [NotNullWhen(false)] out string? problem)
    {
        request = null;
        try
        {
            request = JsonSerializer.Deserialize(body, AddRequestJson.Default.AddRequest);
            problem = request is null ? "the body is null" : request.Problem();
        }
        catch (JsonException e)
        {
            problem = $"the body is not a pod event: {e.Message}";
        }
        if (problem is not null) request = null;
        return request is not null;
    }

    private string? Problem()
    {
        if (string.IsNullOrEmpty(PodName) || string.IsNullOrEmpty(PodNamespace)) return "PodName or PodNamespace is empty";
        if (string.IsNullOrEmpty(Netns)) return $"no Netns for pod {PodNamespace}/{PodName}";
        return Addresses.Count == 0 ? $"no usable IPs for pod {PodNamespace}/{PodName}" : null;
    }
}

internal sealed record AddedAddress
{
    public AddressWithMask? Address { get; init; }
}

/// <summary>Go's IPNet in JSON; the mask is not used.</summary>
internal sealed record AddressWithMask
{
    [JsonPropertyName("IP")] public string? Ip { get; init; }

    public IPAddress? Parse() => IPAddress.TryParse(Ip, out var address) ? (address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address) : null;
}

[JsonSerializable(typeof(AddRequest))]
[JsonSerializable(typeof(List<string>))]
internal sealed partial class AddRequestJson : JsonSerializerContext;
