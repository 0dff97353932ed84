using AmbientMesh.Protocol.Discovery;
using Google.Protobuf;

namespace AmbientMesh.Xds.Tests;

/// <summary>A recorded session of a real ztunnel, message by message.</summary>
internal static class Recording
{
    public sealed record Step(int Number, string File, DeltaDiscoveryRequest? FromClient, DeltaDiscoveryResponse? FromServer, byte[] Bytes)
    {
        public bool StartsStream => FromClient?.Node is not null && FromClient.TypeUrl == TypeUrls.Address;
    }

    public static List<Step> Read(string folder)
    {
        List<Step> steps = [];
        foreach (var file in Directory.GetFiles(Samples.Path($"samples/ztunnel/xds/{folder}"), "*.hex").Order(StringComparer.Ordinal))
        {
            var name = Path.GetFileNameWithoutExtension(file);
            var bytes = Convert.FromHexString(File.ReadAllText(file).Trim());
            var isClient = name.Contains("-c2s-", StringComparison.Ordinal);
            steps.Add(new Step(int.Parse(name.AsSpan(0, 2)), name, isClient ? DeltaDiscoveryRequest.Parser.ParseFrom(bytes) : null, isClient ? null : DeltaDiscoveryResponse.Parser.ParseFrom(bytes), bytes));
        }
        return steps;
    }

    /// <summary>The recorded resource with a version of ours, in the groups our control plane would give it.</summary>
    public static XdsResource Resource(Resource recorded, string typeUrl)
    {
        List<string> groups = [];
        if (typeUrl == TypeUrls.Address && TryAddress(recorded.Resource_.Value) is { Workload: { } workload })
        {
            if (workload.Node.Length > 0) groups.Add(ResourceGroups.OfNode(workload.Node));
            groups.AddRange(workload.Services.Keys.Select(ResourceGroups.Of));
        }
        return XdsResource.FromBytes(typeUrl, recorded.Name, recorded.Resource_.Value, [.. recorded.Aliases], groups, versioned: typeUrl == TypeUrls.Address);
    }

    private static Protocol.Wds.Address? TryAddress(ByteString body)
    {
        try
        {
            return Protocol.Wds.Address.Parser.ParseFrom(body);
        }
        catch (InvalidProtocolBufferException)
        {
            return null;   // some recorded bodies are bad on purpose
        }
    }
}
