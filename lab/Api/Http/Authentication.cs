using AmbientMesh.Lab.Api.Access;
using AmbientMesh.Lab.Api.Objects;
using Microsoft.AspNetCore.Http;

namespace AmbientMesh.Lab.Api.Http;

/// <summary>Who a request comes from: bearer token, client certificate, or nobody.</summary>
internal sealed class Authentication(ApiServer server)
{
    /// <summary>The user; anonymous without credentials. Throws 401 for credentials that do not hold.</summary>
    public UserInfo UserOf(HttpContext context)
    {
        var header = context.Request.Headers.Authorization.ToString();
        if (header.StartsWith("Bearer ", StringComparison.OrdinalIgnoreCase))
            return server.Tokens.Check(header["Bearer ".Length..].Trim(), [ServiceAccountTokens.Issuer]).User ?? throw ApiErrors.Unauthorized();
        if (context.Connection.ClientCertificate is { } certificate) return server.Certificates.UserOf(certificate) ?? throw ApiErrors.Unauthorized();
        return UserInfo.Anonymous;
    }

    /// <summary>The user the request wants to act as; itself without impersonation headers.</summary>
    public UserInfo Impersonated(HttpContext context, UserInfo user, RequestInfo info, Authorizer authorizer)
    {
        var headers = context.Request.Headers;
        var name = headers["Impersonate-User"].ToString();
        var groups = headers["Impersonate-Group"].OfType<string>().ToList();
        if (name.Length == 0)
        {
            if (groups.Count > 0) throw ApiErrors.Internal("requested [{UserGroup  }] without impersonating a user");
            return user;
        }
        var account = name.StartsWith("system:serviceaccount:", StringComparison.Ordinal) ? name.Split(':') : [];
        var wanted = account.Length == 4
            ? new AccessAttempt(user, "impersonate", "", "serviceaccounts", "", account[2], account[3])
            : new AccessAttempt(user, "impersonate", "", "users", "", "", name);
        if (authorizer.Allows(wanted) is null || groups.Any(g => authorizer.Allows(new AccessAttempt(user, "impersonate", "", "groups", "", "", g)) is null))
            throw RequestPipeline.Denied(user, info, $"impersonate-on:user-info:{info.Verb}");
        if (groups.Count == 0 && account.Length == 4) groups = ["system:serviceaccounts", $"system:serviceaccounts:{account[2]}"];
        if (!groups.Contains("system:authenticated") && name != "system:anonymous") groups.Add("system:authenticated");
        var extra = headers.Where(h => h.Key.StartsWith("Impersonate-Extra-", StringComparison.OrdinalIgnoreCase))
            .ToDictionary(h => Uri.UnescapeDataString(h.Key["Impersonate-Extra-".Length..].ToLowerInvariant()), h => (IReadOnlyList<string>)[.. h.Value.OfType<string>()], StringComparer.Ordinal);
        return new UserInfo(name, groups) { Uid = headers["Impersonate-Uid"].ToString(), Extra = extra };
    }
}
