using AmbientMesh.Kubernetes;
using AmbientMesh.Protocol.Security;
using Action = AmbientMesh.Protocol.Security.Action;

namespace AmbientMesh.ControlPlane.Translation.Policy;

/// <summary>PeerAuthentications as the DENY policies through which ztunnel enforces them, and which of them a workload names (reference 5.5). Pure.</summary>
internal static class PeerAuthenticationConversion
{
    private const string StaticStrict = "istio_converted_static_strict";   // underscores keep these names apart from any object's
    private const string ConvertedPrefix = "converted_peer_authentication_";

    /// <summary>Whether callers must prove an identity where no selector says otherwise: the namespace's oldest, else the mesh's, else not.</summary>
    public static bool IsStrict(PeerAuthenticationRule? mesh, PeerAuthenticationRule? ns) => IsStrict(ns?.Mode, IsStrict(mesh?.Mode, inherited: false));

    /// <summary>Names of the policies a workload lists.</summary>
    /// <param name="rootNamespace">Of the mesh.</param>
    /// <param name="inherited">See <see cref="IsStrict(PeerAuthenticationRule?, PeerAuthenticationRule?)"/>.</param>
    /// <param name="own">The oldest that selects the workload, or null.</param>
    public static IEnumerable<string> NamedBy(string rootNamespace, bool inherited, PeerAuthenticationRule? own)
    {
        var strict = IsStrict(own?.Mode, inherited);
        if (own is null || own.Ports.Count == 0) return strict ? [StaticStrictName(rootNamespace)] : [];
        // Single ports are converted outside the root namespace only: there a strict port makes the workload strict rather than nothing.
        if (own.Key.Namespace == rootNamespace) return strict || own.PortsWith(MtlsMode.Strict).Any() ? [StaticStrictName(rootNamespace)] : [];
        var needsConverted = strict ? Exempting(own).Any() : own.PortsWith(MtlsMode.Strict).Any();
        // The static policy denies on every port: beside the converted one it would take the exemptions back.
        return needsConverted ? [ConvertedName(own)] : strict ? [StaticStrictName(rootNamespace)] : [];
    }

    /// <summary>Denies callers without identity on every port.</summary>
    public static Authorization StaticStrictPolicy(string rootNamespace) =>
        Denying(rootNamespace, StaticStrict, new Rule { Clauses = { new Clause { Matches = { NoIdentity() } } } });

    /// <summary>The port-level modes of one object as a policy; null when they ask for nothing beyond the object's base mode.</summary>
    /// <inheritdoc cref="NamedBy" path="/param"/>
    public static Authorization? Convert(string rootNamespace, bool inherited, PeerAuthenticationRule own)
    {
        if (own.Selector.IsEmpty || own.Key.Namespace == rootNamespace) return null;
        var rule = IsStrict(own.Mode, inherited) ? StrictBut([.. own.PortsWith(MtlsMode.Permissive, MtlsMode.Disable)]) : StrictOn([.. own.PortsWith(MtlsMode.Strict)]);
        return rule is null ? null : Denying(own.Key.Namespace, ConvertedPrefix + own.Key.Name, rule);
    }

    private static bool IsStrict(MtlsMode? mode, bool inherited) => mode is null or MtlsMode.Unset ? inherited : mode == MtlsMode.Strict;

    // Under a mode of its own a DISABLE port is an exemption, under an inherited one it is not (reference 5.5).
    private static IEnumerable<ushort> Exempting(PeerAuthenticationRule own) =>
        own.Mode == MtlsMode.Strict ? own.PortsWith(MtlsMode.Permissive, MtlsMode.Disable) : own.PortsWith(MtlsMode.Permissive);

    private static Rule? StrictBut(ushort[] exempt) => exempt.Length == 0 ? null : new Rule
    {
        Clauses =
        {
            new Clause { Matches = { NoIdentity() } },
            exempt.Select(port => new Clause { Matches = { new Match { NotDestinationPorts = { port } } } }),
        },
    };

    private static Rule? StrictOn(ushort[] ports) => ports.Length == 0 ? null : new Rule { Clauses = { new Clause { Matches = { ports.Select(NoIdentityOn) } } } };

    private static Match NoIdentityOn(ushort port)
    {
        var match = NoIdentity();
        match.DestinationPorts.Add(port);
        return match;
    }

    private static Match NoIdentity() => new() { NotPrincipals = { new StringMatch { Presence = new() } } };

    private static Authorization Denying(string ns, string name, Rule rule) =>
        new() { Namespace = ns, Name = name, Scope = Scope.WorkloadSelector, Action = Action.Deny, Rules = { rule } };

    /// <summary>The object whose port-level modes the policy of that name carries; null for a name this class does not make. The static policy has no object of its own.</summary>
    public static ObjectKey? ConvertedFrom(string ns, string policyName) =>
        policyName.StartsWith(ConvertedPrefix, StringComparison.Ordinal) ? new ObjectKey(ns, policyName[ConvertedPrefix.Length..]) : null;

    public static string StaticStrictName(string rootNamespace) => $"{rootNamespace}/{StaticStrict}";

    private static string ConvertedName(PeerAuthenticationRule own) => $"{own.Key.Namespace}/{ConvertedPrefix}{own.Key.Name}";
}
