namespace AmbientMesh.Kubernetes;

/// <summary>authentication.k8s.io/v1 TokenReview. The token is never printed.</summary>
public sealed record TokenReview : KubernetesObject, IResource<TokenReview>
{
    public static ResourceType Type { get; } = new("authentication.k8s.io", "v1", "tokenreviews", "TokenReview", IsNamespaced: false);

    public TokenReviewSpec Spec { get; init => field = value ?? new(); } = new();
    public TokenReviewStatus Status { get; init => field = value ?? new(); } = new();

    public override string ToString() => $"TokenReview ({Status})";
}

public sealed record TokenReviewSpec
{
    public string? Token { get; init; }
    public IReadOnlyList<string> Audiences { get; init => field = value ?? []; } = [];

    public override string ToString() => $"token for {string.Join(", ", Audiences)}";
}

/// <summary>Who holds the token. A refusal leaves <see cref="Authenticated"/> false and says why in <see cref="Error"/>.</summary>
public sealed record TokenReviewStatus
{
    public bool Authenticated { get; init; }
    public TokenUser User { get; init => field = value ?? new(); } = new();
    /// <summary>Those asked for which the token is good for.</summary>
    public IReadOnlyList<string> Audiences { get; init => field = value ?? []; } = [];
    public string? Error { get; init; }
}

public sealed record TokenUser
{
    public string? Username { get; init; }
    public string? Uid { get; init; }
    public IReadOnlyList<string> Groups { get; init => field = value ?? []; } = [];
    public IReadOnlyDictionary<string, IReadOnlyList<string>> Extra { get; init => field = value ?? NoExtra; } = NoExtra;

    private static readonly IReadOnlyDictionary<string, IReadOnlyList<string>> NoExtra =
        System.Collections.Frozen.FrozenDictionary<string, IReadOnlyList<string>>.Empty;
}

/// <summary>authentication.k8s.io/v1 TokenRequest, posted to a ServiceAccount's <c>token</c> subresource. The token is never printed.</summary>
public sealed record TokenRequest : KubernetesObject
{
    public TokenRequestSpec Spec { get; init => field = value ?? new(); } = new();
    public TokenRequestStatus Status { get; init => field = value ?? new(); } = new();

    public override string ToString() => $"TokenRequest ({Spec})";
}

public sealed record TokenRequestSpec
{
    /// <summary>Empty: the API server's own.</summary>
    public IReadOnlyList<string> Audiences { get; init => field = value ?? []; } = [];
    /// <summary>At least 600; one hour when null.</summary>
    public long? ExpirationSeconds { get; init; }
    /// <summary>A pod, secret or node; the token dies with it.</summary>
    public ObjectReference? BoundObjectRef { get; init; }
}

public sealed record TokenRequestStatus
{
    public string? Token { get; init; }
    public DateTimeOffset? ExpirationTimestamp { get; init; }

    public override string ToString() => $"token until {ExpirationTimestamp:O}";
}
