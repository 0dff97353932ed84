using System.Net;
using System.Net.Sockets;
using AmbientMesh.Telemetry;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Ztunnel.Connections;

/// <summary>Accepts connections on one socket and hands each to a server, until it is closed.</summary>
public sealed class Listener : IDisposable
{
    private static readonly TimeSpan RestAfterFailure = TimeSpan.FromMilliseconds(50);

    private readonly Socket _socket;
    private readonly Func<Socket, Task> _serve;
    private readonly TimeProvider _clock;
    private readonly ILogger _log;
    private readonly DescriptorShortage? _shortage;
    private readonly CancellationTokenSource _closing = new();
    private readonly Lock _gate = new();
    private readonly TaskCompletionSource _idle = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _serving = 1;   // the accept loop counts as one

    /// <summary>Starts accepting on a listening socket, which is owned from now on.</summary>
    /// <param name="serve">Owns the accepted socket; its failures are logged.</param>
    /// <param name="shortage">Says when there are no descriptors to accept with; nothing is accepted meanwhile.</param>
    public Listener(Socket socket, Func<Socket, Task> serve, TimeProvider clock, ILogger log, DescriptorShortage? shortage = null)
    {
        (_socket, _serve, _clock, _log, _shortage) = (socket, serve, clock, log, shortage);
        EndPoint = (IPEndPoint)socket.LocalEndPoint!;
        _ = Task.Run(AcceptAsync, CancellationToken.None);
    }

    public IPEndPoint EndPoint { get; }

    /// <summary>Stops accepting; connections under way go on. Repeatable.</summary>
    public void Close()
    {
        _closing.Cancel();
        _socket.Dispose();
    }

    public void Dispose() => Close();

    /// <summary>Completes when the listener is closed and every connection it accepted has ended.</summary>
    public Task Completion => _idle.Task;

    /// <summary>The address without IPv4-mapped form.</summary>
    public static IPEndPoint Canonical(EndPoint? endPoint)
    {
        var ip = (IPEndPoint)endPoint!;
        return ip.Address.IsIPv4MappedToIPv6 ? new IPEndPoint(ip.Address.MapToIPv4(), ip.Port)
            // An IPv4 address has no scope, and asking it for one throws.
            : ip.AddressFamily == AddressFamily.InterNetworkV6 && ip.Address.ScopeId != 0 ? new IPEndPoint(new IPAddress(ip.Address.GetAddressBytes()), ip.Port)
            : ip;
    }

    private async Task AcceptAsync()
    {
        while (!_closing.IsCancellationRequested)
        {
            try
            {
                if (_shortage is not null) await _shortage.OverAsync(_closing.Token);
                var accepted = await _socket.AcceptAsync(_closing.Token);
                _shortage?.Accepted(accepted, EndPoint);
                Enter();
                _ = ServeAsync(accepted);
            }
            catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
            {
                break;
            }
            catch (SocketException e) when (!_closing.IsCancellationRequested)
            {
                // The listener itself is fine. What was not accepted waits in its queue.
                if (e.SocketErrorCode == SocketError.TooManyOpenSockets && _shortage is not null) _shortage.Met(EndPoint);
                else _log.Write(LogLevel.Warning, $"Failed TCP handshake {e.Message}", new KeyValuePair<string, object?>("address", EndPoint));
                await Task.Delay(RestAfterFailure, _clock, CancellationToken.None);
            }
            catch (SocketException)
            {
                break;
            }
        }
        Leave();
    }

    private async Task ServeAsync(Socket accepted)
    {
        await Task.Yield();
        try
        {
            await _serve(accepted);
        }
        catch (Exception e)
        {
            // One connection's failure; every expected one has been turned into a reason before.
            _log.LogError(e, "serving a connection on {Address} failed", EndPoint);
        }
        finally
        {
            accepted.Dispose();
            Leave();
        }
    }

    private void Enter()
    {
        lock (_gate) _serving++;
    }

    private void Leave()
    {
        lock (_gate)
        {
            if (--_serving > 0) return;
        }
        _idle.TrySetResult();
    }
}
