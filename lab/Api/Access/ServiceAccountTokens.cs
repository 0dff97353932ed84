using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Storage;

namespace AmbientMesh.Lab.Api.Access;

/// <summary>Issues and checks ServiceAccount tokens (RS256 JWTs bound to pods, nodes or secrets).</summary>
public sealed class ServiceAccountTokens(ClusterStore store) : IDisposable
{
    /// <summary>Issuer, and the audience of tokens meant for the API server.</summary>
    public const string Issuer = "https://kubernetes.default.svc.cluster.local";

    private static readonly GroupResource Accounts = new("", "serviceaccounts");
    private readonly RSA _key = RSA.Create(2048);

    /// <summary>Key id: the public key's hash.</summary>
    public string KeyId => field ??= Base64Url.EncodeToString(SHA256.HashData(_key.ExportSubjectPublicKeyInfo()));

    /// <summary>A token as kubelets mount it.</summary>
    /// <param name="audiences">Empty for the API server's own.</param>
    /// <param name="bound">The object whose end ends the token; null for an unbound one.</param>
    /// <param name="warnAfterSeconds">Set for the default projected token, which lives a year behind a promise of an hour.</param>
    public (string Token, DateTimeOffset Expires) Issue(
        string ns, string account, IReadOnlyList<string> audiences, TimeSpan lifetime, (string Kind, JsonObject Object)? bound = null, long? warnAfterSeconds = null)
    {
        var owner = store.Get(Accounts, ns, account);
        var now = store.Clock.GetUtcNow();
        var expires = now + lifetime;
        var private_ = new JsonObject { ["namespace"] = ns };
        if (bound is { } b)
        {
            if (b.Kind == "Pod" && b.Object.Text("spec", "nodeName") is { Length: > 0 } node
                && store.TryGet(new GroupResource("", "nodes"), "", node) is { } n) private_["node"] = Reference(n);
            private_[b.Kind.ToLowerInvariant()] = Reference(b.Object);
        }
        private_["serviceaccount"] = Reference(owner);
        if (warnAfterSeconds is { } warn) private_["warnafter"] = now.ToUnixTimeSeconds() + warn;
        var claims = new JsonObject
        {
            ["aud"] = new JsonArray([.. (audiences.Count == 0 ? [Issuer] : audiences).Select(a => (JsonNode)JsonValue.Create(a)!)]),
            ["exp"] = expires.ToUnixTimeSeconds(),
            ["iat"] = now.ToUnixTimeSeconds(),
            ["iss"] = Issuer,
            ["jti"] = Guid.NewGuid().ToString(),
            ["kubernetes.io"] = private_,
            ["nbf"] = now.ToUnixTimeSeconds(),
            ["sub"] = $"system:serviceaccount:{ns}:{account}",
        };
        var header = new JsonObject { ["alg"] = "RS256", ["kid"] = KeyId };
        var signed = $"{Encode(header)}.{Encode(claims)}";
        var signature = _key.SignData(Encoding.ASCII.GetBytes(signed), HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        return ($"{signed}.{Base64Url.EncodeToString(signature)}", expires);
    }

    private static JsonObject Reference(JsonObject o) => new() { ["name"] = o.Name(), ["uid"] = o.Uid() };

    private static string Encode(JsonObject o) => Base64Url.EncodeToString(Encoding.UTF8.GetBytes(o.ToJsonString()));

    /// <summary>
    /// The account behind a token, when it is ours, in time, and what it is bound to still exists; otherwise why not.
    /// <c>Audiences</c> is what token and <paramref name="wanted"/> have in common.
    /// </summary>
    public (UserInfo? User, IReadOnlyList<string> Audiences, string? Error) Check(string token, IReadOnlyList<string> wanted)
    {
        if (Read(token) is not { } claims) return (null, [], "invalid bearer token");
        var now = store.Clock.GetUtcNow().ToUnixTimeSeconds();
        if (claims.Number("exp") is not { } expires || expires <= now) return (null, [], "[invalid bearer token, service account token has expired]");
        if (claims.Number("nbf") is { } notBefore && notBefore > now + 10) return (null, [], "[invalid bearer token, service account token is not valid yet]");
        var audiences = claims.Texts("aud").ToList();
        var common = audiences.Intersect(wanted, StringComparer.Ordinal).ToList();
        if (common.Count == 0) return (null, [], $"[invalid bearer token, token audiences {Quoted(audiences)} is invalid for the target audiences {Quoted(wanted)}]");
        return BoundObjectsProblem(claims) is { } problem ? (null, [], $"[invalid bearer token, {problem}]") : (UserOf(claims), common, null);
    }

    private static string Quoted(IEnumerable<string> values) => "[" + string.Join(" ", values.Select(FieldError.Quote)) + "]";

    private JsonObject? Read(string token)
    {
        var parts = token.Split('.');
        if (parts.Length != 3) return null;
        try
        {
            var header = JsonNode.Parse(Base64Url.DecodeFromChars(parts[0]));
            if (header.Text("alg") != "RS256" || header.Text("kid") != KeyId) return null;
            var signature = Base64Url.DecodeFromChars(parts[2]);
            if (!_key.VerifyData(Encoding.ASCII.GetBytes($"{parts[0]}.{parts[1]}"), signature, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)) return null;
            var claims = JsonNode.Parse(Base64Url.DecodeFromChars(parts[1])) as JsonObject;
            return claims.Text("iss") == Issuer ? claims : null;
        }
        catch (Exception e) when (e is FormatException or JsonException or CryptographicException)
        {
            return null;
        }
    }

    private string? BoundObjectsProblem(JsonObject claims)
    {
        var ns = claims.Text("kubernetes.io", "namespace") ?? "";
        (string Claim, GroupResource Resource, string Namespace, string Word)[] bound =
        [
            ("serviceaccount", Accounts, ns, "service account"), ("pod", new("", "pods"), ns, "pod"),
            ("secret", new("", "secrets"), ns, "secret"), ("node", new("", "nodes"), "", "node"),
        ];
        foreach (var (claim, resource, scope, word) in bound)
        {
            if (claims.Map("kubernetes.io", claim) is not { } reference) continue;
            if (claim == "node" && claims.Map("kubernetes.io", "pod") is not null) continue;   // the pod's own life decides
            var o = store.TryGet(resource, scope, reference.Text("name") ?? "");
            if (o is null || o.Uid() != reference.Text("uid"))
                return claim == "serviceaccount" ? "service account token has been invalidated" : $"service account token has been invalidated: {word} {reference.Text("name")} is gone";
        }
        return null;
    }

    private static UserInfo UserOf(JsonObject claims)
    {
        var kubernetes = claims.Map("kubernetes.io");
        var ns = kubernetes.Text("namespace") ?? "";
        var extra = new Dictionary<string, IReadOnlyList<string>>(StringComparer.Ordinal)
        {
            ["authentication.kubernetes.io/credential-id"] = [$"JTI={claims.Text("jti")}"],
        };
        foreach (var kind in (string[])["node", "pod"])
        {
            if (kubernetes.Map(kind) is not { } reference) continue;
            extra[$"authentication.kubernetes.io/{kind}-name"] = [reference.Text("name") ?? ""];
            extra[$"authentication.kubernetes.io/{kind}-uid"] = [reference.Text("uid") ?? ""];
        }
        return new UserInfo(claims.Text("sub") ?? "", ["system:serviceaccounts", $"system:serviceaccounts:{ns}", "system:authenticated"])
        {
            Uid = kubernetes.Text("serviceaccount", "uid") ?? "",
            Extra = extra,
        };
    }

    /// <summary>The public key as a JWK set.</summary>
    public JsonObject KeySet()
    {
        var key = _key.ExportParameters(false);
        return new JsonObject
        {
            ["keys"] = new JsonArray(new JsonObject
            {
                ["use"] = "sig",
                ["kty"] = "RSA",
                ["kid"] = KeyId,
                ["alg"] = "RS256",
                ["n"] = Base64Url.EncodeToString(key.Modulus),
                ["e"] = Base64Url.EncodeToString(key.Exponent),
            }),
        };
    }

    public void Dispose() => _key.Dispose();
}
