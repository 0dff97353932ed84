using System.Globalization;
using System.Net.Sockets;
using System.Text;

namespace AmbientMesh.Samples.Load;

/// <summary>Sends numbered lines over a connection and checks that each comes back whole.</summary>
internal sealed class NumberedEcho(Socket socket) : IDisposable
{
    private readonly byte[] _buffer = new byte[64];

    /// <summary>Sends <paramref name="number"/> and returns when it has come back.</summary>
    /// <exception cref="IOException">The connection ended (<see cref="EndOfStreamException"/>) or broke.</exception>
    /// <exception cref="InvalidDataException">Something else came back.</exception>
    public async Task ExchangeAsync(long number, CancellationToken limit)
    {
        var line = Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"message {number}\n"));
        for (var sent = 0; sent < line.Length;) sent += await socket.SendAsync(line.AsMemory(sent), limit);
        var length = 0;
        while (length < line.Length)
        {
            var read = await socket.ReceiveAsync(_buffer.AsMemory(length, line.Length - length), limit);
            if (read == 0) throw new EndOfStreamException();
            length += read;
        }
        if (!_buffer.AsSpan(0, length).SequenceEqual(line)) throw new InvalidDataException("Another text came back than was sent.");
    }

    /// <summary>Ends the connection in order: what was sent has arrived, and the other side has ended too.</summary>
    /// <inheritdoc cref="ExchangeAsync"/>
    public async Task FinishAsync(CancellationToken limit)
    {
        socket.Shutdown(SocketShutdown.Send);
        if (await socket.ReceiveAsync(_buffer, limit) != 0) throw new InvalidDataException("More came back than was sent.");
    }

    public void Dispose() => socket.Dispose();
}
