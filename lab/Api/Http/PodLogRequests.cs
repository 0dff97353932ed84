using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Pods;

namespace AmbientMesh.Lab.Api.Http;

/// <summary>GET pods/NAME/log.</summary>
internal static class PodLogRequests
{
    public static async Task HandleAsync(RequestContext c)
    {
        if (c.Info.Verb != "get") throw ApiErrors.MethodNotAllowed();
        CheckOptions(c);
        var (pod, container) = PodTargets.Resolve(c, c.Query("container"), "logs");
        var runtime = PodTargets.Runtime(c);
        var request = new PodLogRequest(pod, container)
        {
            Follow = Flag(c, "follow"),
            Previous = Flag(c, "previous"),
            Timestamps = Flag(c, "timestamps"),
            TailLines = Number(c, "tailLines"),
            LimitBytes = Number(c, "limitBytes"),
            Since = KubernetesTime.Parse(c.Query("sinceTime")) ?? (Number(c, "sinceSeconds") is { } seconds ? c.Store.Clock.GetUtcNow().AddSeconds(-seconds) : null),
        };
        await using var log = await runtime.OpenLogAsync(request, c.Aborted);
        c.Http.Response.StatusCode = 200;
        c.Http.Response.ContentType = "text/plain";
        c.Http.Response.Headers.CacheControl = "no-cache, private";
        await c.Http.Response.StartAsync(c.Aborted);
        await CopyAsync(c, log);
    }

    private static async Task CopyAsync(RequestContext c, Stream log)
    {
        using var end = CancellationTokenSource.CreateLinkedTokenSource(c.Aborted, c.Server.Stopping);
        var buffer = new byte[32 * 1024];
        int read;
        while ((read = await log.ReadAsync(buffer, end.Token)) > 0)
        {
            await c.Http.Response.Body.WriteAsync(buffer.AsMemory(0, read), end.Token);
            await c.Http.Response.Body.FlushAsync(end.Token);
        }
    }

    private static bool Flag(RequestContext c, string name) => c.Query(name) is { } value && RequestInfo.IsTrue(value);
    private static long? Number(RequestContext c, string name) => long.TryParse(c.Query(name), out var value) ? value : null;

    private static void CheckOptions(RequestContext c)
    {
        var errors = new List<FieldError>();
        if (Number(c, "tailLines") is < 0 and var tail) errors.Add(FieldError.Invalid("tailLines", $"{tail}", "must be greater than or equal to 0"));
        if (Number(c, "limitBytes") is < 1 and var limit) errors.Add(FieldError.Invalid("limitBytes", $"{limit}", "must be greater than 0"));
        if (Number(c, "sinceSeconds") is < 1 and var since) errors.Add(FieldError.Invalid("sinceSeconds", $"{since}", "must be greater than 0"));
        if (errors.Count > 0) throw ApiErrors.Invalid("", "PodLogOptions", c.Info.Name, errors);
    }
}

/// <summary>Which container of which pod a request means.</summary>
internal static class PodTargets
{
    private static readonly GroupResource Pods = new("", "pods");

    public static IPodRuntime Runtime(RequestContext c) =>
        c.Server.Pods ?? throw new ApiException(503, "ServiceUnavailable", "the server is currently unable to handle the request: no node answers", []);

    public static PodReference Reference(RequestContext c)
    {
        var pod = c.Store.Get(Pods, c.Info.Namespace, c.Info.Name);
        if (pod.Text("spec", "nodeName") is not { Length: > 0 } node) throw ApiErrors.BadRequest($"pod {c.Info.Name} does not have a host assigned");
        return new PodReference(c.Info.Namespace, c.Info.Name, pod.Uid(), node);
    }

    /// <summary>The container asked for, or the only (or default) one; 400 where that is not clear or it cannot serve yet.</summary>
    public static (PodReference Pod, string Container) Resolve(RequestContext c, string? asked, string purpose)
    {
        var pod = c.Store.Get(Pods, c.Info.Namespace, c.Info.Name);
        var main = pod.Objects("spec", "containers").Select(k => k.Text("name") ?? "").ToList();
        var init = pod.Objects("spec", "initContainers").Select(k => k.Text("name") ?? "").ToList();
        var all = main.Concat(init).ToList();
        var container = asked;
        if (string.IsNullOrEmpty(container))
        {
            container = pod.Annotations().GetValueOrDefault("kubectl.kubernetes.io/default-container");
            if (container is null || !all.Contains(container, StringComparer.Ordinal))
            {
                if (main.Count != 1 || (purpose == "logs" && init.Count > 0 && main.Count != 1))
                    throw ApiErrors.BadRequest($"a container name must be specified for pod {c.Info.Name}, choose one of: [{string.Join(" ", main)}]" + (init.Count > 0 ? $" or one of the init containers: [{string.Join(" ", init)}]" : ""));
                container = main[0];
            }
        }
        else if (!all.Contains(container, StringComparer.Ordinal))
        {
            throw ApiErrors.BadRequest($"container {container} is not valid for pod {c.Info.Name}");
        }
        if (pod.Text("spec", "nodeName") is not { Length: > 0 } node)
            throw ApiErrors.BadRequest(purpose == "logs" ? $"container {FieldError.Quote(container)} in pod {FieldError.Quote(c.Info.Name)} is waiting to start: no host assigned" : $"pod {c.Info.Name} does not have a host assigned");
        var status = pod.Objects("status", "containerStatuses").Concat(pod.Objects("status", "initContainerStatuses")).FirstOrDefault(s => s.Text("name") == container);
        var previous = c.Query("previous") is { } p && RequestInfo.IsTrue(p);
        if (purpose == "logs" && previous && status is not null && (status.Map("lastState", "terminated") is null))
            throw ApiErrors.BadRequest($"previous terminated container {FieldError.Quote(container)} in pod {FieldError.Quote(c.Info.Name)} not found");
        if (purpose == "logs" && !previous && status.Text("state", "waiting", "reason") is { } waiting && status.Map("lastState", "terminated") is null)
            throw ApiErrors.BadRequest($"container {FieldError.Quote(container)} in pod {FieldError.Quote(c.Info.Name)} is waiting to start: {waiting}");
        return (new PodReference(c.Info.Namespace, c.Info.Name, pod.Uid(), node), container);
    }
}
