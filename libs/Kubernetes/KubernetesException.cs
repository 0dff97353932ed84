using System.Net;

namespace AmbientMesh.Kubernetes;

/// <summary>The API server did not do what was asked. Two cases: <see cref="KubernetesRefusedException"/> and <see cref="KubernetesUnavailableException"/>.</summary>
public abstract class KubernetesException(string message, HttpStatusCode? code, Status status, Exception? cause) : Exception(message, cause)
{
    /// <summary>Null when no answer came.</summary>
    public HttpStatusCode? Code { get; } = code;
    /// <summary>What the server said; empty when it did not answer in its own words.</summary>
    public Status Status { get; } = status;
    public string? Reason => Status.Reason;

    public bool IsNotFound => Code == HttpStatusCode.NotFound;
    public bool IsForbidden => Code == HttpStatusCode.Forbidden;
    public bool IsUnauthorized => Code == HttpStatusCode.Unauthorized;
    /// <summary>Another write came first; read again and repeat.</summary>
    public bool IsConflict => Code == HttpStatusCode.Conflict && Reason != "AlreadyExists";
    public bool AlreadyExists => Code == HttpStatusCode.Conflict && Reason == "AlreadyExists";
    /// <summary>410: the resourceVersion or continue token is too old; list again.</summary>
    public bool IsExpired => Code == HttpStatusCode.Gone;
}

/// <summary>The server answered and will answer the same again: the request, the rights or the object must change first.</summary>
public sealed class KubernetesRefusedException(string message, HttpStatusCode code, Status status, Exception? cause = null)
    : KubernetesException(message, code, status, cause);

/// <summary>The server could not be reached, broke off, or asked to come again later: the same request may succeed later.</summary>
public sealed class KubernetesUnavailableException(string message, HttpStatusCode? code, Status status, TimeSpan? retryAfter, Exception? cause = null)
    : KubernetesException(message, code, status, cause)
{
    /// <summary>The wait the server asked for, if it did.</summary>
    public TimeSpan? RetryAfter { get; } = retryAfter;
}
