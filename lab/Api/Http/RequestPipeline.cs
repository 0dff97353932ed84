using AmbientMesh.Lab.Api.Access;
using AmbientMesh.Lab.Api.Objects;
using Microsoft.AspNetCore.Http;

namespace AmbientMesh.Lab.Api.Http;

/// <summary>Every request: who is it, may they, and who answers.</summary>
internal sealed class RequestPipeline(ApiServer server)
{
    private readonly Authentication _authentication = new(server);
    private readonly Discovery _discovery = new(server);
    private readonly OpenApi.OpenApiDocuments _openApi = new(server);

    public async Task HandleAsync(HttpContext context)
    {
        try
        {
            context.Response.Headers["Audit-Id"] = Guid.NewGuid().ToString();
            await DispatchAsync(context);
        }
        catch (ApiException e) when (!context.Response.HasStarted)
        {
            await Responses.ErrorAsync(context, e);
        }
        catch (OperationCanceledException) when (context.RequestAborted.IsCancellationRequested || server.Stopping.IsCancellationRequested)
        {
            // Nobody is left to answer.
        }
        catch (IOException) when (context.RequestAborted.IsCancellationRequested)
        {
            // The connection broke while answering.
        }
        catch (Exception e) when (!context.Response.HasStarted && e is not OutOfMemoryException)
        {
            // A defect of the lab: say where, so that it can be found, and keep serving.
            Console.Error.WriteLine($"api server: {context.Request.Method} {context.Request.Path}: {e}");
            await Responses.ErrorAsync(context, ApiErrors.Internal(e.Message));
        }
    }

    private async Task DispatchAsync(HttpContext context)
    {
        var info = RequestInfo.Of(context.Request);
        var real = _authentication.UserOf(context);
        var user = _authentication.Impersonated(context, real, info, server.Authorizer);
        Authorize(user, info);
        if (info.IsResource) await ResourceAsync(context, info, user);
        else await PathAsync(context, info);
    }

    private void Authorize(UserInfo user, RequestInfo info)
    {
        var attempt = info.IsResource
            ? new AccessAttempt(user, info.Verb, info.Group, info.Resource, info.Subresource, info.Namespace, info.AccessName)
            : new AccessAttempt(user, info.Verb, Path: info.Path);
        if (server.Authorizer.Allows(attempt) is null) throw Denied(user, info);
    }

    /// <summary>403 in the words of the API server.</summary>
    public static ApiException Denied(UserInfo user, RequestInfo info, string? verb = null)
    {
        verb ??= info.Verb;
        if (!info.IsResource)
            return new ApiException(403, "Forbidden", $"forbidden: User {FieldError.Quote(user.Name)} cannot {verb} path {FieldError.Quote(info.Path)}", []);
        var scope = info.Namespace.Length > 0 ? $"in the namespace {FieldError.Quote(info.Namespace)}" : "at the cluster scope";
        var resource = info.Subresource.Length > 0 ? $"{info.Resource}/{info.Subresource}" : info.Resource;
        return ApiErrors.Forbidden(new GroupResource(info.Group, info.Resource), info.AccessName,
            $"User {FieldError.Quote(user.Name)} cannot {verb} resource {FieldError.Quote(resource)} in API group {FieldError.Quote(info.Group)} {scope}");
    }

    private async Task ResourceAsync(HttpContext context, RequestInfo info, UserInfo user)
    {
        var registry = server.Store.Registry;
        var resource = registry.Find(info.Group, info.Version, info.Resource);
        if (resource is null)
        {
            if (registry.All.Any(r => r.Group == info.Group && r.Version == info.Version)) throw ApiErrors.NoSuchResource();
            await Responses.NoPageAsync(context);
            return;
        }
        if (resource.Custom?.DeprecationWarning is { } warning) Responses.Warn(context, [warning]);
        var c = new RequestContext { Http = context, Info = info, User = user, Server = server, View = ResourceView.Of(registry, resource) };
        await (info.Subresource switch
        {
            "" => resource.IsStored ? ResourceRequests.HandleAsync(c) : Reviews.HandleAsync(c),
            _ when !resource.Subresources.Contains(info.Subresource, StringComparer.Ordinal) => throw ApiErrors.NoSuchResource(),
            "status" => StatusAsync(c),
            "scale" => ScaleRequests.HandleAsync(c),
            "token" => TokenRequests.HandleAsync(c),
            "log" => PodLogRequests.HandleAsync(c),
            "exec" or "attach" => PodExecRequests.HandleAsync(c),
            "portforward" => PodPortForwardRequests.HandleAsync(c),
            "binding" => PodActions.BindAsync(c),
            "eviction" => PodActions.EvictAsync(c),
            "finalize" => PodActions.FinalizeNamespaceAsync(c),
            "ephemeralcontainers" or "resize" or "approval" => StatusAsync(c),
            _ => throw new ApiException(501, "NotImplemented", $"the lab does not serve {info.Resource}/{info.Subresource}"),
        });
    }

    private static Task StatusAsync(RequestContext c) =>
        c.Info.Verb is "get" or "update" or "patch" ? ResourceRequests.HandleAsync(c) : throw ApiErrors.VerbNotSupported(c.Resource.GroupResource, c.Info.Verb);

    private Task PathAsync(HttpContext context, RequestInfo info)
    {
        var path = info.Path.Length > 1 ? info.Path.TrimEnd('/') : info.Path;
        if (Discovery.Handles(path)) return _discovery.HandleAsync(context, path);
        if (path.StartsWith("/openapi/v", StringComparison.Ordinal)) return _openApi.HandleAsync(context, path);
        return ServerPaths.HandleAsync(context, path, server);
    }
}
