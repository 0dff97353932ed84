using System.Collections.Immutable;

namespace AmbientMesh.Model.Authorization;

/// <summary>Says in words what a rule asks. For people; nothing is decided by it.</summary>
public static class PolicyText
{
    public static string Of(PolicyRule rule) => rule.Clauses.IsEmpty ? "anything" : string.Join(", and ", rule.Clauses.Select(Of));

    public static string Of(PolicyClause clause) => clause.Alternatives.IsEmpty ? "anything" : string.Join(" or else ", clause.Alternatives.Select(Of));

    /// <summary>A match with nothing set never holds; it is what remains of something L4 cannot see.</summary>
    public static string Of(PolicyMatch match)
    {
        if (match.IsEmpty) return "nothing (it asks for something L4 cannot see)";
        var parts = new List<string>();
        Add("namespace", match.Namespaces, match.NotNamespaces, Of);
        Add("principal", match.Principals, match.NotPrincipals, Of);
        Add("service account", match.ServiceAccounts, match.NotServiceAccounts, a => $"{a.Namespace}/{a.ServiceAccount}");
        Add("source address", match.SourceIps, match.NotSourceIps, n => n.ToString());
        Add("destination address", match.DestinationIps, match.NotDestinationIps, n => n.ToString());
        Add("port", match.DestinationPorts, match.NotDestinationPorts, p => p.ToString());
        return string.Join(" and ", parts);

        void Add<T>(string what, ImmutableArray<T> any, ImmutableArray<T> none, Func<T, string> text)
        {
            if (!any.IsEmpty) parts.Add($"{what} {string.Join(" or ", any.Select(text))}");
            if (!none.IsEmpty) parts.Add($"{what} not {string.Join(" nor ", none.Select(text))}");
        }
    }

    private static string Of(StringMatch match) => match switch
    {
        StringMatch.Exact exact => exact.Value,
        StringMatch.Prefix prefix => $"{prefix.Value}*",
        StringMatch.Suffix suffix => $"*{suffix.Value}",
        _ => "any (one must be proven)",
    };
}
