using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using AmbientMesh.Ztunnel.InPod;

namespace AmbientMesh.Ztunnel.Dns;

/// <summary>Passes a query on to the name servers and their answer back: byte for byte but for the id, which is drawn anew on this side.</summary>
/// <remarks>
/// Each try has a socket of its own, with a source port of its own, connected to the server: an answer from anywhere else, with another id or
/// to another question is passed over. Sockets are made in the pod's namespace, so that the network's rules for the pod hold; only a server on
/// a loopback address is asked from ztunnel's own, since in the pod's it would be the pod itself.
/// </remarks>
/// <param name="own">Sockets of ztunnel's own namespace.</param>
public sealed class DnsForwarder(PodSockets pod, PodSockets own, NameServers servers, TimeProvider clock)
{
    /// <summary>From the first try to giving up; a little less than resolver libraries wait.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(4.5);

    /// <summary>After this silence the next server is asked as well, or the only one again.</summary>
    public static readonly TimeSpan NextTry = TimeSpan.FromSeconds(1.5);
    private const int Tries = 3;

    /// <summary>What came of forwarding a query.</summary>
    /// <param name="Answer">With the client's id; null when there is none in time.</param>
    /// <param name="Reason">Why there is none.</param>
    /// <param name="Rest">The further messages of a zone transfer; null when there are none. The caller's to dispose.</param>
    public readonly record struct Forwarded(byte[]? Answer, string Reason, ZoneTransfer? Rest);

    /// <summary>Asks the servers, in order and then in parallel, until one of them answers.</summary>
    /// <param name="takesTransfers">Whether the caller takes the further messages of a zone transfer.</param>
    public async Task<Forwarded> ForwardAsync(ReadOnlyMemory<byte> message, DnsQuery query, DnsTransport transport, bool takesTransfers, CancellationToken cancellationToken)
    {
        var order = servers.InOrder();
        if (order.Count == 0) return new(null, "no name server is known", null);
        using var limit = new CancellationTokenSource(Patience, clock);
        using var all = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, limit.Token);
        var asked = new List<Task<Try>>();
        byte[]? unhelpful = null;
        var reason = "no name server answered in time";
        try
        {
            for (var n = 0; n < Tries; n++)
            {
                asked.Add(AskAsync(order[n % order.Count], message, query, transport, takesTransfers, all.Token));
                using var pause = CancellationTokenSource.CreateLinkedTokenSource(all.Token);
                var next = Task.Delay(n == Tries - 1 ? Timeout.InfiniteTimeSpan : NextTry, clock, pause.Token);
                while (asked.Count > 0)
                {
                    var first = await Task.WhenAny([next, .. asked]);
                    if (first == next) break;
                    var attempt = await (Task<Try>)first;
                    asked.Remove((Task<Try>)first);
                    if (attempt.Answer is { } answer && !IsUnhelpful(answer)) return new(answer, "", attempt.Rest);
                    unhelpful ??= attempt.Answer;
                    if (attempt.Answer is null) reason = attempt.Reason;
                }
                await pause.CancelAsync();
                if (limit.IsCancellationRequested || (unhelpful is not null && n + 1 >= order.Count)) break;
                if (next.IsCompletedSuccessfully) servers.DidNotAnswer(order[n % order.Count]);
            }
            cancellationToken.ThrowIfCancellationRequested();
            if (limit.IsCancellationRequested) foreach (var server in order) servers.DidNotAnswer(server);
            return new(unhelpful, unhelpful is null ? reason : "", null);
        }
        finally
        {
            await all.CancelAsync();
            foreach (var attempt in asked) _ = attempt.ContinueWith(static done => Forget(done), CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
        }
    }

    private readonly record struct Try(byte[]? Answer, string Reason, ZoneTransfer? Rest = null);

    /// <summary>An attempt that another was faster than.</summary>
    private static void Forget(Task<Try> attempt)
    {
        if (attempt.IsCompletedSuccessfully) attempt.Result.Rest?.Dispose();
        else _ = attempt.Exception;
    }

    /// <summary>Whether another server may know better.</summary>
    private static bool IsUnhelpful(byte[] answer) => DnsHeader.TryRead(answer, out var header) && header.Code is DnsCode.ServerFailure or DnsCode.Refused;

    private async Task<Try> AskAsync(IPEndPoint server, ReadOnlyMemory<byte> message, DnsQuery query, DnsTransport transport, bool takesTransfers, CancellationToken cancellationToken)
    {
        var ours = message.ToArray();
        var id = (ushort)RandomNumberGenerator.GetInt32(ushort.MaxValue + 1);
        BinaryPrimitives.WriteUInt16BigEndian(ours, id);
        var sockets = IPAddress.IsLoopback(server.Address) ? own : pod;
        try
        {
            var answer = transport == DnsTransport.Udp
                ? new Try(await AskDatagramAsync(sockets, server, ours, id, query, cancellationToken), "")
                : await AskStreamAsync(sockets, server, ours, id, query, takesTransfers, cancellationToken);
            servers.Answered(server);
            return answer;
        }
        catch (Exception e) when (e is SocketException or IOException)
        {
            return new Try(null, $"{server}: {e.Message}");
        }
        catch (OperationCanceledException)
        {
            return new Try(null, $"{server} did not answer in time");
        }
    }

    private static async Task<byte[]> AskDatagramAsync(PodSockets sockets, IPEndPoint server, byte[] message, ushort id, DnsQuery query, CancellationToken cancellationToken)
    {
        using var socket = sockets.OpenDatagram(server.AddressFamily);
        await socket.ConnectAsync(server, cancellationToken);   // no packet; it binds the answer to the server
        await socket.SendAsync(message, SocketFlags.None, cancellationToken);
        var buffer = new byte[Math.Max(query.Limit(DnsTransport.Udp), 4096)];   // a server may send more than it was allowed
        while (true)
        {
            var length = await socket.ReceiveAsync(buffer, SocketFlags.None, cancellationToken);
            if (Adopt(buffer.AsSpan(0, length), id, query) is { } answer) return answer;
        }
    }

    private async Task<Try> AskStreamAsync(PodSockets sockets, IPEndPoint server, byte[] message, ushort id, DnsQuery query, bool takesTransfers, CancellationToken cancellationToken)
    {
        var socket = await sockets.ConnectAsync(server, cancellationToken);
        var stream = new NetworkStream(socket, ownsSocket: true);
        ZoneTransfer? rest = null;
        try
        {
            await DnsStream.WriteAsync(stream, message, cancellationToken);
            var answer = await ReadAnswerAsync(stream, id, query, cancellationToken) ?? throw new IOException("it closed without an answer");
            // A refusal is all that is said of a transfer.
            if (takesTransfers && query.Question.Type is DnsTypes.Axfr or DnsTypes.Ixfr && DnsHeader.TryRead(answer, out var header) && header.Code == DnsCode.NoError)
                rest = new ZoneTransfer(stream, async token => await ReadAnswerAsync(stream, id, query, token), clock);
            return new Try(answer, "", rest);
        }
        finally
        {
            if (rest is null) await stream.DisposeAsync();
        }
    }

    private static async Task<byte[]?> ReadAnswerAsync(NetworkStream stream, ushort id, DnsQuery query, CancellationToken cancellationToken)
    {
        while (await DnsStream.ReadAsync(stream, cancellationToken) is { } message)
            if (Adopt(message, id, query) is { } answer) return answer;
        return null;
    }

    /// <summary>A copy with the client's id; null for a message that is no answer to this query.</summary>
    internal static byte[]? Adopt(ReadOnlySpan<byte> message, ushort id, DnsQuery query)
    {
        if (!DnsHeader.TryRead(message, out var header) || header.Id != id || !header.IsResponse || header.Opcode != query.Header.Opcode) return null;
        // A server that could not read the question leaves it out; the later messages of a transfer may do so, too (RFC 5936 §2.2.1).
        var isOurs = header.Questions == 0
            ? header.Code != DnsCode.NoError || query.Question.Type is DnsTypes.Axfr or DnsTypes.Ixfr
            : header.Questions == 1 && EqualButForCase(message[DnsHeader.Bytes..], query.QuestionBytes);
        if (!isOurs) return null;
        var answer = message.ToArray();
        BinaryPrimitives.WriteUInt16BigEndian(answer, query.Header.Id);
        return answer;
    }

    private static bool EqualButForCase(ReadOnlySpan<byte> message, ReadOnlySpan<byte> question)
    {
        if (message.Length < question.Length) return false;
        var name = question.Length - 4;
        for (var i = 0; i < question.Length; i++)
            if (message[i] != question[i] && (i >= name || !IsLetter(question[i]) || (message[i] ^ question[i]) != 0x20)) return false;
        return true;

        static bool IsLetter(byte octet) => (octet | 0x20) is >= (byte)'a' and <= (byte)'z';
    }
}
