using System.Net;
using System.Net.Sockets;
using AmbientMesh.Hbone;
using AmbientMesh.Ztunnel.Connections;
using AmbientMesh.Ztunnel.InPod;
using AmbientMesh.Ztunnel.Outbound;
using AmbientMesh.Ztunnel.Reporting;

namespace AmbientMesh.Ztunnel.Socks;

/// <summary>Serves applications that ask for connections through SOCKS5 (port 15080 of the pod's loopback): what they ask for goes the way of captured connections.</summary>
/// <param name="outbound">With tunnels of its own: those of captured connections are told another source.</param>
/// <param name="names">Null when pods' lookups are not answered; then addresses only are taken.</param>
public sealed class SocksProxy(PodContext pod, OutboundProxy outbound, SocksNames? names)
{
    /// <summary>Clients of one pod that may be asking at once (T-09).</summary>
    public const int MaxAsking = 128;

    /// <summary>Time for greeting and request together (T-09).</summary>
    public static readonly TimeSpan HeadTimeout = TimeSpan.FromSeconds(5);

    // What a refused client sent after its request is read away, as far as this: closing over unread bytes could take the answer with it.
    private const int MaxUnread = 4096;

    private readonly ProxyServices _services = pod.Services;
    private int _asking;

    private delegate SocksRead Parse(ReadOnlySpan<byte> bytes);

    /// <summary>Serves one client to its end; every failure becomes a reason in the access log.</summary>
    public async Task ServeAsync(Socket accepted)
    {
        _services.Metrics.Sockets(Direction.Outbound).Increment();
        using var connection = pod.Connections.Begin();
        var (source, own) = (Listener.Canonical(accepted.RemoteEndPoint), Listener.Canonical(accepted.LocalEndPoint));
        try
        {
            if (await AskedAsync(accepted, connection, source, own) is { } asked) await CarryAsync(accepted, connection, source, asked);
        }
        catch (OperationCanceledException)
        {
            Fail(connection, source, own, connection.Reason ?? CloseReason.BadSocks($"took longer than {HeadTimeout.TotalSeconds} s"));
        }
        catch (SocketException e)
        {
            Fail(connection, source, own, connection.Reason ?? CloseReason.CopyFailed("receive", CloseReason.Describe(e)));
        }
        catch (Exception e)
        {
            Fail(connection, source, own, CloseReason.Internal(e));
            throw;
        }
        finally
        {
            _services.Metrics.Sockets(Direction.Outbound).Decrement();
        }
    }

    private async Task CarryAsync(Socket accepted, OpenConnection connection, IPEndPoint source, SocksRead.Connect asked)
    {
        await using var application = new SocketTransport(accepted, isPrepared: true);
        var intake = new SocksIntake(application);
        var (address, problem) = asked.Address is { } given ? (given, null) : await ResolveAsync(asked.Host, source, connection.Closing);
        if (address is not null)
        {
            await outbound.CarryAsync(connection, intake, source, new IPEndPoint(address, asked.Port));
            return;
        }
        Fail(connection, source, new IPEndPoint(IPAddress.Any, asked.Port), problem!);
        await intake.RefusedAsync(problem!);
    }

    private async ValueTask<(IPAddress?, CloseReason?)> ResolveAsync(string host, IPEndPoint client, CancellationToken cancellationToken)
    {
        if (names is null) return (null, CloseReason.NameUnresolved(host, "the DNS proxy is off, so that addresses only can be asked for"));
        var (address, why) = await names.ResolveAsync(host, client, cancellationToken);
        return (address, address is null ? CloseReason.NameUnresolved(host, why) : null);
    }

    /// <summary>What the client asks for; null when it was refused and told so.</summary>
    private async Task<SocksRead.Connect?> AskedAsync(Socket accepted, OpenConnection connection, IPEndPoint source, IPEndPoint own)
    {
        try
        {
            if (Interlocked.Increment(ref _asking) > MaxAsking)
            {
                Fail(connection, source, own, CloseReason.TooManyFrom(source.Address, "SOCKS5 clients asking"));
                return null;
            }
            using var time = new CancellationTokenSource(HeadTimeout, _services.Clock);
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(time.Token, connection.Closing);
            var read = await ReadHeadAsync(accepted, limit.Token);
            if (read is SocksRead.Refused refused)
            {
                Fail(connection, source, own, CloseReason.BadSocks(refused.Problem));
                await DismissAsync(accepted, refused.Answer, limit.Token);
            }
            return read as SocksRead.Connect;
        }
        finally
        {
            Interlocked.Decrement(ref _asking);
        }
    }

    private static async Task<SocksRead> ReadHeadAsync(Socket client, CancellationToken cancellationToken)
    {
        var buffer = new byte[SocksMessages.MaxBytes];
        var greeting = await ReadAsync(client, buffer, SocksMessages.ParseGreeting, cancellationToken);
        if (greeting is not SocksRead.Greeting) return greeting;
        await client.SendAsync(SocksMessages.Selected, cancellationToken);
        return await ReadAsync(client, buffer, SocksMessages.ParseRequest, cancellationToken);
    }

    private static async Task<SocksRead> ReadAsync(Socket client, byte[] buffer, Parse parse, CancellationToken cancellationToken)
    {
        for (var have = 0; ;)
        {
            var read = parse(buffer.AsSpan(0, have));
            if (read is not SocksRead.Unfinished unfinished) return read;
            var count = await client.ReceiveAsync(buffer.AsMemory(have, unfinished.Length - have), cancellationToken);
            if (count == 0) return new SocksRead.Refused(default, "the client left before it had asked");
            have += count;
        }
    }

    private static async Task DismissAsync(Socket client, ReadOnlyMemory<byte> answer, CancellationToken cancellationToken)
    {
        try
        {
            if (answer.IsEmpty) return;
            await client.SendAsync(answer, cancellationToken);
            client.Shutdown(SocketShutdown.Send);
            var unread = new byte[MaxUnread];
            for (var count = 1; count > 0;) count = await client.ReceiveAsync(unread, cancellationToken);
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException)
        {
            // It is told, or does not want to know.
        }
    }

    private void Fail(OpenConnection connection, IPEndPoint source, IPEndPoint destination, CloseReason reason) =>
        _services.Reports.Failed(connection, Direction.Outbound, source, destination, reason);
}
