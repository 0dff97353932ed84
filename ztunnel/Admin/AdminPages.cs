using AmbientMesh.Telemetry;
using AmbientMesh.Ztunnel.Explain;

namespace AmbientMesh.Ztunnel.Admin;

/// <summary>Answers of the admin port 15000 (L4 reference §11.4). Reached from the node only.</summary>
public sealed class AdminPages(ConfigDump dump, ConnectionsPage connections, CoveragePage coverage, ExplainPage explain, LogFilter levels, Action shutdown)
{
    private const string Index = """
        <!DOCTYPE html>
        <html lang="en">
        <head><title>Ztunnel Admin</title></head>
        <body>
        <table>
        <tr><td><a href="config_dump">config_dump</a></td><td>the mesh, the pods and the certificates this proxy holds</td></tr>
        <tr><td><a href="debug/connections">debug/connections</a></td><td>open connections and the last that ended (?id= ?state=open|ended ?reason=any|WORD ?limit=)</td></tr>
        <tr><td><a href="debug/coverage">debug/coverage</a></td><td>connections and bytes by mutual TLS and by plaintext, per pair of workloads (?limit=)</td></tr>
        <tr><td>debug/explain</td><td>what would happen to a connection, and why (?from=namespace/pod&amp;to=host:port, or ?side=inbound&amp;…)</td></tr>
        <tr><td>POST logging</td><td>show or change log levels (?level=info,access=warn,ztunnel::dns=debug or ?reset)</td></tr>
        <tr><td>POST quitquitquit</td><td>shut down gracefully</td></tr>
        </table>
        </body>
        </html>

        """;

    public HttpEndpointResponse Answer(HttpEndpointRequest request)
    {
        switch (request.Path)
        {
            case "/":
                return HttpEndpointResponse.Text(200, Index, "text/html; charset=utf-8");
            case "/config_dump":
                return HttpEndpointResponse.Json(dump.Write());
            case "/debug/connections":
                return connections.Answer(request);
            case "/debug/coverage":
                return coverage.Answer(request);
            case "/debug/explain":
                return explain.Answer(request);
            case "/logging":
                return StandardEndpoints.Logging(request, levels);
            case "/debug/pprof/profile" or "/debug/pprof/heap" or "/debug/pprof/heap/profiling":
                return Profiling(request);
            case "/quitquitquit" when request.Method == "POST":
                shutdown();
                return HttpEndpointResponse.Text(200, "shutdown now\n");
            case "/quitquitquit":
                return HttpEndpointResponse.MethodNotAllowed;
            default:
                return HttpEndpointResponse.NotFound;
        }
    }

    // The runtime samples stacks only for a tool outside the process.
    private static HttpEndpointResponse Profiling(HttpEndpointRequest request)
    {
        if (request.Path == "/debug/pprof/profile")
        {
            if (!IsWithin(request.QueryValue("seconds"), 300)) return HttpEndpointResponse.Text(400, "invalid seconds value; expected 1-300");
            if (!IsWithin(request.QueryValue("frequency"), 1000)) return HttpEndpointResponse.Text(400, "invalid frequency value; expected 1-1000");
        }
        return HttpEndpointResponse.Text(501, "no profiles in pprof form can be made in this process. Start it with DOTNET_EnableDiagnostics=1 and use dotnet-trace (processor) or dotnet-gcdump (heap) on it; "
            + "memory, collections and threads are in the metrics on port 15020.\n");
    }

    private static bool IsWithin(string? text, int most) =>
        text is null || (int.TryParse(text, System.Globalization.NumberStyles.None, System.Globalization.CultureInfo.InvariantCulture, out var value) && value >= 1 && value <= most);
}
