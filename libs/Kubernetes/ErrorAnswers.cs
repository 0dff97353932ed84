using System.Net;
using System.Text.Json;

namespace AmbientMesh.Kubernetes;

/// <summary>Turns an answer that is not a success into the exception that says what happened. Pure.</summary>
internal static class ErrorAnswers
{
    /// <summary>An answer with a status code of 400 or more.</summary>
    /// <param name="what">The request, e.g. <c>GET /api/v1/pods</c>.</param>
    /// <param name="body">A Status as JSON, plain text, or nothing.</param>
    /// <param name="retryAfter">Of the answer's header.</param>
    public static KubernetesException Read(string what, HttpStatusCode code, ReadOnlySpan<byte> body, TimeSpan? retryAfter = null)
    {
        var status = TryReadStatus(body);
        var said = status.Message ?? (status.Kind is null ? Shortened(body) : "");
        return From($"{what}: {(int)code} {status.Reason ?? code.ToString()}{(said.Length > 0 ? $": {said}" : "")}", code, status, retryAfter);
    }

    /// <summary>A Status that came in an ERROR event of a watch.</summary>
    public static KubernetesException FromStatus(string what, Status status)
    {
        var code = (HttpStatusCode)(status.Code ?? 500);
        return From($"{what}: {(int)code} {status.Reason}: {status.Message}", code, status, null);
    }

    private static KubernetesException From(string message, HttpStatusCode code, Status status, TimeSpan? retryAfter)
    {
        if (status.Details.RetryAfterSeconds is > 0 and var seconds) retryAfter ??= TimeSpan.FromSeconds(seconds);
        return (int)code >= 500 || code is HttpStatusCode.TooManyRequests or HttpStatusCode.RequestTimeout
            ? new KubernetesUnavailableException(message, code, status, retryAfter)
            : new KubernetesRefusedException(message, code, status);
    }

    private static Status TryReadStatus(ReadOnlySpan<byte> body)
    {
        try
        {
            var status = body.IsEmpty ? null : JsonSerializer.Deserialize(body, KubernetesJson.Of<Status>());
            return status is { Kind: "Status" } ? status : new Status();
        }
        catch (JsonException)
        {
            return new Status();   // a proxy in between, or a path outside the API: plain text
        }
    }

    private static string Shortened(ReadOnlySpan<byte> body) => System.Text.Encoding.UTF8.GetString(body[..Math.Min(body.Length, 200)]).Trim();
}
