using AmbientMesh.Hbone.Hpack;
using AmbientMesh.Hbone.Http2;

namespace AmbientMesh.Hbone;

/// <summary>A request that reached our server end. Answer it exactly once.</summary>
public sealed class HboneRequest
{
    private const int MaxQuoted = 300;   // more than a name, its brackets and a port have

    private readonly HboneServerConnection _connection;
    private readonly HboneStream _stream;
    private readonly bool _ended;
    private int _answered;

    internal HboneRequest(HboneServerConnection connection, HboneStream stream, RequestHeaders headers, bool ended)
    {
        _connection = connection;
        _stream = stream;
        _ended = ended;
        Method = headers.Method;
        RawAuthority = headers.Authority ?? "";
        Headers = headers.Fields;
        if (HboneAuthority.TryParse(RawAuthority, out var authority)) Authority = authority;
        Problem = Method != "CONNECT" ? $"expected method CONNECT, got {Quoted(Method)}"
            : Authority is null ? $"no valid authority pseudo header: {Quoted(RawAuthority)}"
            : null;
    }

    // The problem is logged and kept with the connections that were refused; the header block it comes from may have tens of kilobytes.
    private static string Quoted(string told) => told.Length <= MaxQuoted ? told : $"{told.AsSpan(0, MaxQuoted)}... ({told.Length} characters)";

    public string Method { get; }

    /// <summary>Host or address and port asked for; null when it cannot be parsed, and then there is a <see cref="Problem"/>.</summary>
    public HboneAuthority? Authority { get; }
    public string RawAuthority { get; }

    /// <summary>The regular headers in wire order, names in lower case.</summary>
    public IReadOnlyList<HeaderField> Headers { get; }

    /// <summary>Why this must be refused with 400, in the words of the reference's log, a long method or authority cut short; null when it is a proper CONNECT.</summary>
    public string? Problem { get; }

    /// <summary>Who asks; see <see cref="HboneConnection.Peer"/>.</summary>
    public TlsPeer? Peer => _connection.Peer;
    public HboneServerConnection Connection => _connection;
    public int StreamId => _stream.Id;
    internal HboneStream Stream => _stream;

    /// <summary>Whether the asker has gone meanwhile, so that answering is no use.</summary>
    public bool IsGone => _stream.IsReset;

    /// <summary>Whether it was accepted or rejected already.</summary>
    public bool IsAnswered => Volatile.Read(ref _answered) != 0;

    /// <summary>The first value of a header; null without one.</summary>
    public string? Value(string name)
    {
        for (var i = 0; i < Headers.Count; i++)
            if (Headers[i].Name == name) return Headers[i].Value;
        return null;
    }

    /// <summary>All values of a header, in order.</summary>
    public IEnumerable<string> Values(string name) => Headers.Where(h => h.Name == name).Select(h => h.Value);

    /// <summary>Answers 200; from then on the stream carries bytes. Its disposal is the caller's. Writing fails if the asker has gone.</summary>
    public HboneStream Accept(params ReadOnlySpan<HeaderField> headers)
    {
        if (Problem is not null) throw new InvalidOperationException($"A request that must be refused was accepted: {Problem}");
        Answer(200, headers, endStream: false);
        return _stream;
    }

    /// <summary>Answers with an error status and the given headers, no body; a request side still open is closed by RST_STREAM NO_ERROR, as the reference does.</summary>
    public void Reject(int status, params ReadOnlySpan<HeaderField> headers)
    {
        if (status is < 400 or > 599) throw new ArgumentOutOfRangeException(nameof(status), status, "An error status is 400 to 599.");
        Answer(status, headers, endStream: true);
        if (_ended) _connection.FinishRejected(_stream);
        else _connection.ResetLocally(_stream, Http2.ErrorCode.NoError);
    }

    private void Answer(int status, ReadOnlySpan<HeaderField> headers, bool endStream)
    {
        if (Interlocked.Exchange(ref _answered, 1) != 0) throw new InvalidOperationException("The request was answered before.");
        _stream.AwaitsAnswer = false;
        if (_stream.IsReset) return;
        _connection.Writer.Headers(_stream, [new HeaderField(":status", StatusText(status)), .. headers], endStream);
    }

    private static string StatusText(int status) => status switch
    {
        200 => "200",
        400 => "400",
        401 => "401",
        503 => "503",
        _ => status.ToString(),
    };
}
