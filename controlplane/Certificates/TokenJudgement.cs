using AmbientMesh.Kubernetes;
using AmbientMesh.Model;

namespace AmbientMesh.ControlPlane.Certificates;

/// <summary>What a TokenReview says about the caller (reference 6.3). Pure.</summary>
internal static class TokenJudgement
{
    private const string ServiceAccounts = "system:serviceaccounts";
    private const string PodName = "authentication.kubernetes.io/pod-name";
    private const string PodUid = "authentication.kubernetes.io/pod-uid";

    /// <summary>Judges an answered review.</summary>
    /// <param name="audiences">Those asked for; the review must name at least one of them.</param>
    public static Authentication Judge(TokenReviewStatus review, IReadOnlyList<string> audiences, string trustDomain)
    {
        if (!review.Authenticated) return new Authentication.Refused($"the API server does not accept the token: {review.Error}");
        // An authenticator that does not know audiences confirms none: then the token may be meant for anyone.
        if (!review.Audiences.Intersect(audiences, StringComparer.Ordinal).Any())
            return new Authentication.Refused($"the token is not meant for {string.Join(" or ", audiences)}");
        if (!review.User.Groups.Contains(ServiceAccounts)) return new Authentication.Refused($"{review.User.Username} is not a ServiceAccount");
        if (review.User.Username?.Split(':') is not ["system", "serviceaccount", var ns, var account])
            return new Authentication.Refused($"the username {review.User.Username} is not that of a ServiceAccount");
        var name = new SpiffeId(trustDomain, ns, account).ToString();
        if (!SpiffeId.TryParse(name, out var id, out var problem)) return new Authentication.Refused($"{name} is no identity: {problem}");
        return new Authentication.Proven(new Caller(id, Only(review.User, PodName), Only(review.User, PodUid)));
    }

    private static string? Only(TokenUser user, string key) => user.Extra.TryGetValue(key, out var values) && values is [{ Length: > 0 } value] ? value : null;
}
