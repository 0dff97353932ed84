using System.Buffers.Binary;
using System.Net;
using AmbientMesh.Model.Authorization;

namespace AmbientMesh.Model.Tests;

/// <summary>Policies as users write them, by number: exact principals, service accounts, namespaces with ports, address ranges, one in ten a DENY.</summary>
internal static class PolicySamples
{
    public static AuthorizationPolicy Of(int number, string ns = "default") => new()
    {
        Key = new PolicyName(ns, $"policy-{number}"),
        Scope = PolicyScope.Namespace,
        Action = number % 10 == 0 ? PolicyAction.Deny : PolicyAction.Allow,
        Rules = [new PolicyRule([new PolicyClause([Source(number)]), new PolicyClause([new PolicyMatch { DestinationPorts = [8080, (ushort)(9000 + (number % 50))] }])])],
    };

    /// <summary>Kinds of policies of which none matches <see cref="Stranger"/>, however many there are, and which all have to be told apart from it.</summary>
    public static IReadOnlyDictionary<string, Func<int, PolicyClause[]>> NoneMatching { get; } = new Dictionary<string, Func<int, PolicyClause[]>>
    {
        ["principal"] = i => [Is(new PolicyMatch { Principals = [new StringMatch.Exact($"cluster.local/ns/team-{i}/sa/app")] })],
        ["principal prefix"] = i => [Is(new PolicyMatch { Principals = [new StringMatch.Prefix($"cluster.local/ns/team-{i}/")] })],
        ["principal suffix"] = i => [Is(new PolicyMatch { Principals = [new StringMatch.Suffix($"/sa/app-{i}")] })],
        ["namespace prefix"] = i => [Is(new PolicyMatch { Namespaces = [new StringMatch.Prefix($"team-{i}-")] })],
        ["namespace suffix"] = i => [Is(new PolicyMatch { Namespaces = [new StringMatch.Suffix($"-{i}")] })],
        ["IP block"] = i => [Is(new PolicyMatch { SourceIps = [IPNetwork.Parse($"172.{i & 255}.{i >> 8}.0/24")] })],
        ["IP block, of 24 lengths"] = i => [Is(new PolicyMatch { SourceIps = [Block(0xac000000 + ((uint)i << 8), 8 + (i % 24))] })],
        ["port"] = i => [Is(new PolicyMatch { DestinationPorts = [(ushort)(20_000 + i)] })],
        ["the connection's namespace, another port"] = i => [Is(new PolicyMatch { Namespaces = [new StringMatch.Exact(Stranger.Namespace)] }), Is(new PolicyMatch { DestinationPorts = [9999, (ushort)(20_000 + (i % 2))] })],
        ["not this or that principal"] = i => [Is(new PolicyMatch { NotPrincipals = [new StringMatch.Exact($"cluster.local/ns/team-{i}/sa/app"), new StringMatch.Exact(StrangersPrincipal)] })],
        ["any principal, but not of its namespace"] = i => [Is(new PolicyMatch { Principals = [new StringMatch.Presence()], NotPrincipals = [new StringMatch.Prefix($"cluster.local/ns/team-{i}/"), new StringMatch.Prefix($"cluster.local/ns/{Stranger.Namespace}/")] })],
        ["not from this or that IP block"] = i => [Is(new PolicyMatch { NotSourceIps = [IPNetwork.Parse($"172.{i & 255}.{i >> 8}.0/24"), IPNetwork.Parse("10.0.0.0/8")] })],
        ["not these namespaces, nor accounts, nor ports"] = i =>
        [
            Is(new PolicyMatch { NotNamespaces = [new StringMatch.Exact($"team-{i}")] }),
            Is(new PolicyMatch { NotServiceAccounts = [new ServiceAccountMatch($"team-{i}", "app")] }),
            Is(new PolicyMatch { NotDestinationPorts = [(ushort)(20_000 + i), 8080] }, new PolicyMatch { NotSourceIps = [IPNetwork.Parse("0.0.0.0/0")] }),
        ],
    };

    /// <summary>Comes from 10.20.30.40 and wants port 8080.</summary>
    public static SpiffeId Stranger { get; } = new("cluster.local", "somewhere", "app");

    private const string StrangersPrincipal = "cluster.local/ns/somewhere/sa/app";

    public static AuthorizationPolicy Of(int number, PolicyAction action, PolicyClause[] clauses) =>
        new() { Key = new PolicyName("default", $"policy-{number}"), Scope = PolicyScope.Namespace, Action = action, Rules = [new PolicyRule([.. clauses])] };

    private static PolicyClause Is(params PolicyMatch[] alternatives) => new([.. alternatives]);

    private static IPNetwork Block(uint address, int length)
    {
        var bytes = new byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(bytes, address & (uint.MaxValue << (32 - length)));
        return new IPNetwork(new IPAddress(bytes), length);
    }

    private static PolicyMatch Source(int number) => (number % 4) switch
    {
        0 => new PolicyMatch { Principals = [new StringMatch.Exact($"cluster.local/ns/ns{number % 40}/sa/app{number}")] },
        1 => new PolicyMatch { ServiceAccounts = [new ServiceAccountMatch($"ns{number % 40}", $"app{number}")] },
        2 => new PolicyMatch { Namespaces = [new StringMatch.Exact($"team{number}")], NotPrincipals = [new StringMatch.Suffix("/sa/untrusted")] },
        _ => new PolicyMatch { SourceIps = [IPNetwork.Parse($"10.{number % 200}.{number / 200}.0/24")] },
    };
}
