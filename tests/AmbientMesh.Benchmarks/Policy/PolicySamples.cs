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

    /// <summary>Rules that say nothing exact: every one has to be looked at.</summary>
    public static AuthorizationPolicy Vague(int number, string ns = "default") => new()
    {
        Key = new PolicyName(ns, $"vague-{number}"),
        Scope = PolicyScope.Namespace,
        Rules = [new PolicyRule([new PolicyClause([new PolicyMatch { Principals = [new StringMatch.Prefix($"cluster.local/ns/team-{number}/")] }])])],
    };

    private static PolicyMatch Source(int number) => (number % 4) switch
    {
        0 => new PolicyMatch { Principals = [new StringMatch.Exact($"cluster.local/ns/ns{number % 40}/sa/app{number}")] },
        1 => new PolicyMatch { ServiceAccounts = [new ServiceAccountMatch($"ns{number % 40}", $"app{number}")] },
        2 => new PolicyMatch { Namespaces = [new StringMatch.Exact($"team{number}")], NotPrincipals = [new StringMatch.Suffix("/sa/untrusted")] },
        _ => new PolicyMatch { SourceIps = [IPNetwork.Parse($"10.{number % 200}.{number / 200}.0/24")] },
    };
}
