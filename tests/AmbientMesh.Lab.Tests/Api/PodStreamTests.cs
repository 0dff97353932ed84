using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Http;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Pods;

namespace AmbientMesh.Lab.Tests.Api;

/// <summary>Logs, exec and port-forward of the real kubectl, with processes of this machine as containers.</summary>
public sealed class PodStreamTests : IAsyncLifetime
{
    private static readonly GroupResource Pods = new("", "pods");
    private readonly ApiServer _server = new(new ApiServerOptions(), TimeProvider.System);
    private Kubectl _kubectl = null!;

    public async ValueTask InitializeAsync()
    {
        _server.Pods = new LocalProcesses();
        await _server.StartAsync(Patience.Token);
        _kubectl = await Kubectl.ForAsync(_server);
        _server.Store.Create(Pods, new JsonObject
        {
            ["metadata"] = new JsonObject { ["name"] = "p", ["namespace"] = "default" },
            ["spec"] = new JsonObject { ["containers"] = new JsonArray(new JsonObject { ["name"] = "one", ["image"] = "x" }, new JsonObject { ["name"] = "two", ["image"] = "x" }) },
        });
        _server.Store.BindPod("default", "p", "node-1");
        _server.Store.ModifyStatus(Pods, "default", "p", o => o["status"] = new JsonObject
        {
            ["phase"] = "Running",
            ["containerStatuses"] = new JsonArray([.. ((string[])["one", "two"]).Select(n => new JsonObject { ["name"] = n, ["ready"] = true, ["started"] = true, ["state"] = new JsonObject { ["running"] = new JsonObject() } })]),
        });
    }

    [Fact]
    public async Task Exec_carries_both_outputs_and_the_exit_code()
    {
        var (code, output, error) = await _kubectl.TryAsync(null, "exec", "p", "-c", "one", "--", "sh", "-c", "echo hi; echo oops >&2; exit 3");
        Assert.Equal(3, code);
        Assert.Equal("hi", output);
        Assert.Equal("oops\ncommand terminated with exit code 3", error);
    }

    [Fact]
    public async Task Exec_carries_the_input_to_its_end() => Assert.Equal("line one\nline two", await _kubectl.FeedAsync("line one\nline two\n", "exec", "-i", "p", "-c", "one", "--", "cat"));

    [Fact]
    public async Task Exec_carries_much_data_whole()
    {
        var output = await _kubectl.RunAsync("exec", "p", "-c", "one", "--", "sh", "-c", "seq 1 60000");
        Assert.Equal(60000, output.Split('\n').Length);
    }

    [Fact]
    public async Task A_command_that_does_not_exist_is_said_so() =>
        Assert.Contains("error executing command in container", (await _kubectl.TryAsync(null, "exec", "p", "-c", "one", "--", "nosuchbinary")).Error, StringComparison.Ordinal);

    [Fact]
    public async Task Logs_come_from_the_container_asked_for()
    {
        Assert.Equal("log of two, tail 5, follow False", await _kubectl.RunAsync("logs", "p", "-c", "two", "--tail=5"));
        Assert.Equal("log of one, tail , follow True", await _kubectl.RunAsync("logs", "-f", "p", "-c", "one"));
        Assert.Contains("container nothere is not valid for pod p", (await _kubectl.TryAsync(null, "logs", "p", "-c", "nothere")).Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_forwarded_port_reaches_the_pod_again_and_again()
    {
        using var process = _kubectl.Start("port-forward", "pod/p", ":8080");
        try
        {
            var line = await Patience.Within(process.StandardOutput.ReadLineAsync(Patience.Token).AsTask());
            var port = int.Parse(line!.Split("->")[0].Split(':')[1]);
            foreach (var text in (string[])["first", "second", new string('x', 200_000)])
            {
                using var client = new TcpClient();
                await client.ConnectAsync(IPAddress.Loopback, port, Patience.Token);
                var stream = client.GetStream();
                var reading = ReadAsync(stream, text.Length + "8080:".Length);
                await stream.WriteAsync(Encoding.ASCII.GetBytes(text), Patience.Token);
                Assert.Equal($"8080:{text}", await Patience.Within(reading));
            }
        }
        finally
        {
            process.Kill();
            await process.WaitForExitAsync(Patience.Token);
        }
    }

    private static async Task<string> ReadAsync(Stream stream, int length)
    {
        var buffer = new byte[length];
        await stream.ReadExactlyAsync(buffer, Patience.Token);
        return Encoding.ASCII.GetString(buffer);
    }

    public async ValueTask DisposeAsync()
    {
        await _server.DisposeAsync();
        _kubectl?.Dispose();
    }

    /// <summary>Runs commands as they are; a port answers with its number and an echo.</summary>
    private sealed class LocalProcesses : IPodRuntime
    {
        public Task<Stream> OpenLogAsync(PodLogRequest request, CancellationToken cancellationToken) =>
            Task.FromResult<Stream>(new MemoryStream(Encoding.ASCII.GetBytes($"log of {request.Container}, tail {request.TailLines}, follow {request.Follow}\n")));

        public Task<IExecSession> ExecAsync(PodExecRequest request, CancellationToken cancellationToken)
        {
            var start = new ProcessStartInfo(request.Command[0]) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
            foreach (var argument in request.Command.Skip(1)) start.ArgumentList.Add(argument);
            return Task.FromResult<IExecSession>(new Session(Process.Start(start)!, request));
        }

        public async Task<Stream> ConnectAsync(PodReference pod, int port, CancellationToken cancellationToken)
        {
            using var listener = new TcpListener(IPAddress.Loopback, 0);
            listener.Start();
            var client = new TcpClient();
            var accepting = listener.AcceptTcpClientAsync(cancellationToken).AsTask();
            await client.ConnectAsync((IPEndPoint)listener.LocalEndpoint, cancellationToken);
            _ = EchoAsync(await accepting, port);
            return client.GetStream();
        }

        private static async Task EchoAsync(TcpClient client, int port)
        {
            using (client)
            {
                var stream = client.GetStream();
                await stream.WriteAsync(Encoding.ASCII.GetBytes($"{port}:"), Patience.Token);
                await stream.CopyToAsync(stream, Patience.Token);
            }
        }

        private sealed class Session(Process process, PodExecRequest request) : IExecSession
        {
            public Stream? StandardInput => request.Stdin ? process.StandardInput.BaseStream : null;
            public Stream? StandardOutput => process.StandardOutput.BaseStream;
            public Stream? StandardError => request.Tty ? null : process.StandardError.BaseStream;
            public Task<int> ExitCode { get; } = EndAsync(process);
            public void Resize(int columns, int rows) { }

            private static async Task<int> EndAsync(Process process)
            {
                await process.WaitForExitAsync(Patience.Token);
                return process.ExitCode;
            }

            public ValueTask DisposeAsync()
            {
                if (!process.HasExited) process.Kill();
                process.Dispose();
                return ValueTask.CompletedTask;
            }
        }
    }
}
