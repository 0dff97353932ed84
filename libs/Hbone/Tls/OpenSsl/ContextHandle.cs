using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using AmbientMesh.Identity;

namespace AmbientMesh.Hbone.OpenSsl;

/// <summary>An SSL_CTX for one SVID and one end: TLS 1.3, the two suites, ALPN h2, no tickets, no session cache, peers judged by <see cref="Session"/>.
/// Made once per SVID, since making it costs as much as half a handshake.</summary>
internal sealed unsafe class ContextHandle : SafeHandle
{
    public ContextHandle() : base(IntPtr.Zero, ownsHandle: true) { }

    public override bool IsInvalid => handle == IntPtr.Zero;

    /// <exception cref="CryptographicException">OpenSSL refused the certificate, the key or a setting.</exception>
    public static ContextHandle Create(Svid svid, bool server)
    {
        var context = new ContextHandle();
        context.SetHandle(Native.SSL_CTX_new(server ? Native.TLS_server_method() : Native.TLS_client_method()));
        if (context.IsInvalid) throw Failed("SSL_CTX_new");
        var raw = context.handle;
        Require(Native.SSL_CTX_ctrl(raw, Native.CtrlMinVersion, Native.Tls13Version, null) == 1, "TLS 1.3");
        Require(Native.SSL_CTX_ctrl(raw, Native.CtrlMaxVersion, Native.Tls13Version, null) == 1, "TLS 1.3");
        fixed (byte* suites = "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256\0"u8) Require(Native.SSL_CTX_set_ciphersuites(raw, suites) == 1, "cipher suites");
        fixed (byte* groups = "X25519:P-256:P-384\0"u8) Require(Native.SSL_CTX_ctrl(raw, Native.CtrlSetGroupsList, 0, groups) == 1, "groups");
        Native.SSL_CTX_set_options(raw, Native.OptionNoTicket | Native.OptionNoRenegotiation);
        Native.SSL_CTX_ctrl(raw, Native.CtrlSessionCacheMode, 0, null);
        Require(Native.SSL_CTX_set_num_tickets(raw, 0) == 1, "no tickets");
        Native.SSL_CTX_ctrl(raw, Native.CtrlMode, Native.ModeReleaseBuffers | Native.ModeNoAutoChain, null);
        UseCertificate(raw, svid);
        if (server) Native.SSL_CTX_set_alpn_select_cb(raw, &SelectProtocol, IntPtr.Zero);
        else fixed (byte* h2 = "\u0002h2"u8) Require(Native.SSL_CTX_set_alpn_protos(raw, h2, 3) == 0, "ALPN");
        Native.SSL_CTX_set_verify(raw, Native.VerifyPeer | Native.VerifyFailIfNoPeerCert, IntPtr.Zero);
        Native.SSL_CTX_set_cert_verify_callback(raw, &Session.VerifyPeer, IntPtr.Zero);
        return context;
    }

    protected override bool ReleaseHandle()
    {
        Native.SSL_CTX_free(handle);
        return true;
    }

    private static void UseCertificate(IntPtr raw, Svid svid)
    {
        fixed (byte* der = svid.Leaf.RawDataMemory.Span) Require(Native.SSL_CTX_use_certificate_ASN1(raw, svid.Leaf.RawDataMemory.Length, der) == 1, "certificate");
        foreach (var intermediate in svid.Intermediates)
        {
            fixed (byte* der = intermediate.RawDataMemory.Span)
            {
                var at = der;
                var parsed = Native.d2i_X509(IntPtr.Zero, &at, intermediate.RawDataMemory.Length);
                Require(parsed != IntPtr.Zero && Native.SSL_CTX_ctrl(raw, Native.CtrlChainCert, 1, (void*)parsed) == 1, "intermediate certificate");
                Native.X509_free(parsed);   // the context holds its own reference
            }
        }
        var key = KeyBytes(svid.Leaf);
        fixed (byte* der = key)
        {
            var at = der;
            var parsed = Native.d2i_AutoPrivateKey(IntPtr.Zero, &at, key.Length);
            CryptographicOperations.ZeroMemory(key);
            Require(parsed != IntPtr.Zero && Native.SSL_CTX_use_PrivateKey(raw, parsed) == 1 && Native.SSL_CTX_check_private_key(raw) == 1, "private key");
            Native.EVP_PKEY_free(parsed);
        }
    }

    private static byte[] KeyBytes(X509Certificate2 leaf)
    {
        using AsymmetricAlgorithm? key = (AsymmetricAlgorithm?)leaf.GetECDsaPrivateKey() ?? leaf.GetRSAPrivateKey();
        return key?.ExportPkcs8PrivateKey() ?? throw new CryptographicException("The SVID has neither an EC nor an RSA key.");
    }

    /// <summary>h2 or a fatal alert; a client without ALPN never gets here.</summary>
    [UnmanagedCallersOnly]
    private static int SelectProtocol(IntPtr ssl, byte** selected, byte* selectedLength, byte* offered, uint length, IntPtr argument)
    {
        for (uint at = 0; at < length; at += 1u + offered[at])
        {
            if (offered[at] != 2 || at + 2 >= length || offered[at + 1] != (byte)'h' || offered[at + 2] != (byte)'2') continue;
            *selected = offered + at + 1;
            *selectedLength = 2;
            return Native.TlsExtErrOk;
        }
        return Native.TlsExtErrAlertFatal;
    }

    private static void Require(bool ok, string what)
    {
        if (!ok) throw Failed(what);
    }

    private static CryptographicException Failed(string what) => new($"OpenSSL refused: {what}: {Session.LastError()}");
}
