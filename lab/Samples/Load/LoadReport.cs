using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Samples.Load;

/// <summary>Tells the counts of a running load on loopback: <c>/</c> those of this moment, <c>/stop</c> ends the load and tells the final ones.</summary>
internal static class LoadReport
{
    public static async Task<IAsyncDisposable> StartAsync(LoadRun run, int port)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.ListenLocalhost(port));
        var app = builder.Build();
        app.Map("/", (RequestDelegate)(context => context.Response.WriteAsync(run.Report, context.RequestAborted)));
        app.Map("/stop", (RequestDelegate)(async context => await context.Response.WriteAsync(await run.EndAsync(), context.RequestAborted)));
        await app.StartAsync(CancellationToken.None);
        return new Stopping(app);
    }

    /// <summary>Lets the answer that tells of the end go out before the server ends.</summary>
    private sealed class Stopping(WebApplication app) : IAsyncDisposable
    {
        public async ValueTask DisposeAsync()
        {
            await app.StopAsync(CancellationToken.None);
            await app.DisposeAsync();
        }
    }
}
