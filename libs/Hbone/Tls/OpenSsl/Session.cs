using System.Runtime.InteropServices;
using System.Security.Cryptography.X509Certificates;

namespace AmbientMesh.Hbone.OpenSsl;

/// <summary>What one step of the TLS engine came to.</summary>
internal enum StepResult
{
    Done,
    /// <summary>More bytes from the wire are needed.</summary>
    WantsInput,
    /// <summary>The peer finished with close_notify.</summary>
    Finished,
    Failed,
}

/// <summary>One SSL object between two byte buffers: <see cref="Input"/> holds records from the wire, <see cref="TakeOutput"/> gives records for it.</summary>
/// <remarks>No I/O and no waiting here. Reading and writing may come from two threads; the SSL object is used by one at a time under <see cref="_gate"/>.
/// The native side reaches this object through a handle that lives as long as the SSL object.</remarks>
internal sealed unsafe class Session : IDisposable
{
    private const int RejectedByUs = 1000;   // no error of OpenSSL's table, which makes the alert certificate_unknown
    private static readonly IntPtr Method = CreateMethod();
    private static readonly int StoreIndex = Native.SSL_get_ex_data_X509_STORE_CTX_idx();

    private readonly Lock _gate = new();
    private readonly Func<X509Certificate2, X509Certificate2Collection, bool> _judge;
    private readonly ContextHandle _context;
    private readonly GCHandle _self;
    private OutputBuffer _filling = new(Block.Small);   // by steps, under the gate
    private OutputBuffer _sending = new(Block.Small);   // by the sender
    private IntPtr _ssl;
    private bool _isBroken;

    /// <param name="context">Kept alive by this session.</param>
    /// <param name="judge">Asked once for the peer's leaf and what came with it.</param>
    public Session(ContextHandle context, bool server, Func<X509Certificate2, X509Certificate2Collection, bool> judge)
    {
        _context = context;
        _judge = judge;
        _ssl = Native.SSL_new(context.DangerousGetHandle());
        if (_ssl == IntPtr.Zero) throw new InvalidOperationException($"OpenSSL made no session: {LastError()}");
        _self = GCHandle.Alloc(this);
        var pointer = GCHandle.ToIntPtr(_self);
        var bio = Native.BIO_new(Method);
        Native.BIO_set_data(bio, pointer);
        Native.BIO_set_init(bio, 1);
        Native.SSL_set_bio(_ssl, bio, bio);
        _ = Native.SSL_set_ex_data(_ssl, 0, pointer);
        if (server) Native.SSL_set_accept_state(_ssl);
        else Native.SSL_set_connect_state(_ssl);
    }

    /// <summary>Records from the wire, filled by the reader while no step runs.</summary>
    public InputWindow Input { get; } = new();

    /// <summary>The records made since the last call, in order; the memory is the caller's until <see cref="Sent"/>. One sender at a time.</summary>
    public ReadOnlyMemory<byte> TakeOutput()
    {
        lock (_gate)
        {
            (_filling, _sending) = (_sending, _filling);
            return _sending.Written;
        }
    }

    /// <summary>Ends the loan of <see cref="TakeOutput"/>; memory is kept while writes are large.</summary>
    public void Sent()
    {
        if (_sending.Count > Block.Small) _sending.Reset();
        else _sending.Release();
    }

    /// <summary>Why the last step failed.</summary>
    public string Error { get; private set; } = "";

    /// <summary>Whether ALPN agreed on h2.</summary>
    public bool? SpeaksHttp2 { get; private set; }

    public StepResult Handshake()
    {
        lock (_gate)
        {
            if (_ssl == IntPtr.Zero) return Gone();
            Native.ERR_clear_error();
            var result = Native.SSL_do_handshake(_ssl);
            if (result != 1) return Outcome(result);
            byte* protocol;
            uint length;
            Native.SSL_get0_alpn_selected(_ssl, &protocol, &length);
            SpeaksHttp2 = length == 0 ? null : length == 2 && protocol[0] == (byte)'h' && protocol[1] == (byte)'2';
            return StepResult.Done;
        }
    }

    /// <summary>Decrypts records into <paramref name="buffer"/> until it is full or the input is used up. Done when at least one byte came out.</summary>
    public StepResult Read(Span<byte> buffer, out int count)
    {
        count = 0;
        fixed (byte* to = buffer)
        {
            while (count < buffer.Length)
            {
                // One record at a time, so that a writer waits for the lock no longer than that.
                lock (_gate)
                {
                    if (_ssl == IntPtr.Zero) return Gone();
                    Native.ERR_clear_error();
                    var result = Native.SSL_read(_ssl, to + count, buffer.Length - count);
                    if (result > 0) count += result;
                    else return count > 0 && !_isBroken ? StepResult.Done : Outcome(result);
                }
            }
        }
        return StepResult.Done;
    }

    /// <summary>Whether decrypted bytes, or records from the wire, are here already.</summary>
    public bool HasInput
    {
        get
        {
            lock (_gate) return _ssl != IntPtr.Zero && (Native.SSL_pending(_ssl) > 0 || !Input.IsEmpty);
        }
    }

    /// <summary>Encrypts all of <paramref name="bytes"/> into the output.</summary>
    public bool Write(ReadOnlySpan<byte> bytes)
    {
        const int record = 16 * 1024;
        const int overhead = 64;   // header, content type and tag are 22
        lock (_gate) _filling.Reserve(bytes.Length + (((bytes.Length / record) + 1) * overhead));   // grown once, not by doubling
        fixed (byte* from = bytes)
        {
            for (var done = 0; done < bytes.Length;)
            {
                lock (_gate)
                {
                    if (_ssl == IntPtr.Zero) return false;
                    Native.ERR_clear_error();
                    var result = Native.SSL_write(_ssl, from + done, Math.Min(record, bytes.Length - done));
                    if (result <= 0)
                    {
                        Outcome(result);
                        return false;
                    }
                    done += result;
                }
            }
        }
        return true;
    }

    /// <summary>Appends close_notify to the output.</summary>
    public void Shutdown()
    {
        lock (_gate)
        {
            if (_ssl == IntPtr.Zero || _isBroken) return;
            Native.ERR_clear_error();
            _ = Native.SSL_shutdown(_ssl);   // 0: the peer's close_notify is still to come
        }
    }

    /// <summary>Frees everything; nothing else may be under way.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            if (_ssl == IntPtr.Zero) return;
            Native.SSL_free(_ssl);   // and its BIO
            _ssl = IntPtr.Zero;
            _self.Free();
            _filling.Release();
            _sending.Release();
            Input.Release();
        }
        GC.KeepAlive(_context);
    }

    /// <summary>The reason at the head of the calling thread's error queue.</summary>
    public static string LastError()
    {
        var code = Native.ERR_get_error();
        return code == 0 ? "connection closed" : Marshal.PtrToStringUTF8(Native.ERR_reason_error_string(code)) ?? $"error {code:x}";
    }

    private StepResult Gone()
    {
        Error = "connection closed locally";
        return StepResult.Failed;
    }

    private StepResult Outcome(int result)
    {
        switch (Native.SSL_get_error(_ssl, result))
        {
            case Native.ErrorWantRead: return StepResult.WantsInput;
            case Native.ErrorZeroReturn: return StepResult.Finished;
            default:
                _isBroken = true;
                Error = LastError();
                return StepResult.Failed;
        }
    }

    private static IntPtr CreateMethod()
    {
        IntPtr method;
        fixed (byte* name = "ambientmesh\0"u8) method = Native.BIO_meth_new(Native.BIO_get_new_index() | Native.BioTypeSourceSink, name);
        _ = Native.BIO_meth_set_read(method, &ReadInput);
        _ = Native.BIO_meth_set_write(method, &WriteOutput);
        _ = Native.BIO_meth_set_ctrl(method, &Control);
        return method;
    }

    private static Session Of(IntPtr pointer) => (Session)GCHandle.FromIntPtr(pointer).Target!;

    [UnmanagedCallersOnly]
    private static int ReadInput(IntPtr bio, byte* buffer, int length)
    {
        Native.BIO_clear_flags(bio, Native.BioFlagsAll);
        var count = Of(Native.BIO_get_data(bio)).Input.Take(new Span<byte>(buffer, length));
        if (count > 0) return count;
        Native.BIO_set_flags(bio, Native.BioFlagsRetryRead);
        return -1;
    }

    [UnmanagedCallersOnly]
    private static int WriteOutput(IntPtr bio, byte* buffer, int length)
    {
        Native.BIO_clear_flags(bio, Native.BioFlagsAll);
        try
        {
            Of(Native.BIO_get_data(bio))._filling.Append(new ReadOnlySpan<byte>(buffer, length));
            return length;
        }
        catch (OutOfMemoryException)
        {
            return -1;   // an exception must not cross the native frames
        }
    }

    [UnmanagedCallersOnly]
    private static nint Control(IntPtr bio, int command, nint argument, void* pointer) => command == Native.BioCtrlFlush ? 1 : 0;

    /// <summary>OpenSSL's chain building is replaced whole: the mesh's verifier judges what the peer sent.</summary>
    [UnmanagedCallersOnly]
    public static int VerifyPeer(IntPtr store, IntPtr argument)
    {
        try
        {
            var session = Of(Native.SSL_get_ex_data(Native.X509_STORE_CTX_get_ex_data(store, StoreIndex), 0));
            using var leaf = Certificate(Native.X509_STORE_CTX_get0_cert(store));
            var sent = new X509Certificate2Collection();
            var stack = Native.X509_STORE_CTX_get0_untrusted(store);
            for (var i = 0; stack != IntPtr.Zero && i < Native.OPENSSL_sk_num(stack); i++) sent.Add(Certificate(Native.OPENSSL_sk_value(stack, i)));
            var accepted = session._judge(leaf, sent);
            foreach (var certificate in sent) certificate.Dispose();
            if (accepted) return 1;
        }
        catch (Exception e)
        {
            System.Diagnostics.Trace.TraceError($"A peer's certificate could not be judged and is refused: {e.Message}");   // no exception may cross the native frames
        }
        Native.X509_STORE_CTX_set_error(store, RejectedByUs);
        return 0;
    }

    private static X509Certificate2 Certificate(IntPtr native)
    {
        var der = new byte[Native.i2d_X509(native, null)];
        fixed (byte* at = der)
        {
            var end = at;
            _ = Native.i2d_X509(native, &end);
        }
        return X509CertificateLoader.LoadCertificate(der);
    }
}
