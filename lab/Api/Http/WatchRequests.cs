using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Storage;

namespace AmbientMesh.Lab.Api.Http;

/// <summary>Watch streams: one JSON object a line until the timeout or the client leaves.</summary>
internal static class WatchRequests
{
    private static readonly TimeSpan LongestWatch = TimeSpan.FromMinutes(60);

    public static async Task WatchAsync(RequestContext c)
    {
        var accept = Negotiation.Of(c.Request, c.Resource.IsCustom);
        var after = StartingPoint(c);
        var sendsInitial = c.Query("sendInitialEvents") is { } initial && RequestInfo.IsTrue(initial);
        var bookmarks = c.Query("allowWatchBookmarks") is { } allow && RequestInfo.IsTrue(allow);
        var timeout = int.TryParse(c.Query("timeoutSeconds"), out var seconds) && seconds > 0 ? TimeSpan.FromSeconds(seconds) : LongestWatch;
        CheckInitialEvents(c, sendsInitial);

        using var watch = c.Store.Watch(c.Resource.GroupResource, c.Selection(), sendsInitial ? null : after, markInitialEnd: sendsInitial && bookmarks);
        using var end = CancellationTokenSource.CreateLinkedTokenSource(c.Aborted, c.Server.Stopping);
        using var timer = c.Store.Clock.CreateTimer(_ => watch.Dispose(), null, timeout, Timeout.InfiniteTimeSpan);
        using var bookmarker = bookmarks ? c.Store.Clock.CreateTimer(_ => watch.RequestBookmark(), null, c.Server.Options.BookmarkPeriod, c.Server.Options.BookmarkPeriod) : null;

        c.Http.Response.StatusCode = 200;
        c.Http.Response.ContentType = accept.Form == ObjectForm.Full ? "application/json" : "application/json";
        c.Http.Response.Headers.CacheControl = "no-cache, private";
        await c.Http.Response.StartAsync(end.Token);
        await c.Http.Response.Body.FlushAsync(end.Token);
        var isFirst = true;
        try
        {
            await foreach (var e in watch.ReadAllAsync(end.Token))
            {
                var line = new JsonObject { ["type"] = e.Type.ToString().ToUpperInvariant(), ["object"] = Shown(c, accept.Form, e, ref isFirst) };
                await c.Http.Response.Body.WriteAsync((byte[])[.. Responses.Bytes(line), (byte)'\n'], end.Token);
                await c.Http.Response.Body.FlushAsync(end.Token);
                if (e.Type == WatchEventType.Error) return;
            }
        }
        catch (OperationCanceledException) when (end.IsCancellationRequested)
        {
            // The client left or the server stops: the stream simply ends.
        }
    }

    private static long? StartingPoint(RequestContext c)
    {
        var version = c.Query("resourceVersion");
        if (version is null or "" or "0") return null;
        if (ulong.TryParse(version, out var revision)) return (long)Math.Min(revision, long.MaxValue);
        throw new ApiException(500, "", $"resourceVersion: Invalid value: {FieldError.Quote(version)}: strconv.ParseUint: parsing {FieldError.Quote(version)}: invalid syntax");
    }

    private static void CheckInitialEvents(RequestContext c, bool sendsInitial)
    {
        var match = c.Query("resourceVersionMatch");
        List<FieldError> errors = [];
        if (c.Query("sendInitialEvents") is not null && match != "NotOlderThan")
            errors.Add(FieldError.Forbidden("resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"));
        else if (c.Query("sendInitialEvents") is null && match is { Length: > 0 })
            errors.Add(FieldError.Forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"));
        if (errors.Count > 0) throw ApiErrors.Invalid("meta.k8s.io", "ListOptions", "", errors);
    }

    private static JsonObject Shown(RequestContext c, ObjectForm form, WatchEvent e, ref bool isFirst)
    {
        if (e.Type == WatchEventType.Error) return e.Object.Copy();
        if (e.Type == WatchEventType.Bookmark && form == ObjectForm.Full)
        {
            var bookmark = new JsonObject { ["kind"] = c.View.Requested.Kind, ["apiVersion"] = c.View.Requested.ApiVersion, ["metadata"] = JsonTree.CopyNode(e.Object["metadata"]) };
            if (c.Resource.IsCustom) return new JsonObject { ["apiVersion"] = bookmark.ApiVersion(), ["kind"] = bookmark.Kind(), ["metadata"] = JsonTree.CopyNode(bookmark["metadata"]) };
            foreach (var field in c.View.Requested.Type?.Fields ?? []) if (field.Name is "spec" or "status" && field.IsAlwaysWritten) bookmark[field.Name] = new JsonObject();
            return bookmark;
        }
        switch (form)
        {
            case ObjectForm.Table:
                var table = e.Type == WatchEventType.Bookmark
                    ? Tables.TableWriter.Of(c, [], e.ResourceVersion.ToString())
                    : Tables.TableWriter.Of(c, [c.View.Out(e.Object)], e.Object.Text("metadata", "resourceVersion"));
                if (!isFirst) table["columnDefinitions"] = null;
                isFirst = false;
                return table;
            case ObjectForm.PartialMetadata:
                return PartialMetadata.Of(e.Object);
            default:
                return c.View.Out(e.Object).Copy();
        }
    }
}
