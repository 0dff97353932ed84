using System.Runtime.InteropServices;

namespace AmbientMesh.Hbone.OpenSsl;

/// <summary>The functions of OpenSSL 3 that the TLS engine uses; names and types as in its headers.</summary>
internal static unsafe partial class Native
{
    private const string Ssl = "libssl.so.3";
    private const string Crypto = "libcrypto.so.3";

    public const int Tls13Version = 0x0304;
    public const int VerifyPeer = 1;
    public const int VerifyFailIfNoPeerCert = 2;
    public const int ErrorWantRead = 2;
    public const int ErrorZeroReturn = 6;
    public const int TlsExtErrOk = 0;
    public const int TlsExtErrAlertFatal = 2;
    public const int CtrlMode = 33;
    public const int CtrlSessionCacheMode = 44;
    public const int CtrlSetGroupsList = 92;
    public const int CtrlMinVersion = 123;
    public const int CtrlMaxVersion = 124;
    public const int CtrlChainCert = 89;   // SSL_CTRL_CHAIN_CERT, with 1 as argument: add1
    public const int ModeNoAutoChain = 0x08;
    public const int ModeReleaseBuffers = 0x10;
    public const ulong OptionNoTicket = 1ul << 14;
    public const ulong OptionNoRenegotiation = 1ul << 30;
    public const int BioFlagsRetryRead = 0x01 | 0x08;
    public const int BioFlagsAll = 0x0f;
    public const int BioCtrlFlush = 11;
    public const int BioTypeSourceSink = 0x0400;

    /// <summary>Whether the libraries are here.</summary>
    public static bool IsAvailable { get; } = NativeLibrary.TryLoad(Ssl, out _) && NativeLibrary.TryLoad(Crypto, out _);

    [DllImport(Ssl)] public static extern IntPtr TLS_server_method();
    [DllImport(Ssl)] public static extern IntPtr TLS_client_method();
    [DllImport(Ssl)] public static extern IntPtr SSL_CTX_new(IntPtr method);
    [DllImport(Ssl)] public static extern void SSL_CTX_free(IntPtr context);
    [DllImport(Ssl)] public static extern nint SSL_CTX_ctrl(IntPtr context, int command, nint argument, void* pointer);
    [DllImport(Ssl)] public static extern ulong SSL_CTX_set_options(IntPtr context, ulong options);
    [DllImport(Ssl)] public static extern int SSL_CTX_set_ciphersuites(IntPtr context, byte* suites);
    [DllImport(Ssl)] public static extern int SSL_CTX_set_num_tickets(IntPtr context, nuint count);
    [DllImport(Ssl)] public static extern int SSL_CTX_use_certificate_ASN1(IntPtr context, int length, byte* der);
    [DllImport(Ssl)] public static extern int SSL_CTX_use_PrivateKey(IntPtr context, IntPtr key);
    [DllImport(Ssl)] public static extern int SSL_CTX_check_private_key(IntPtr context);
    [DllImport(Ssl)] public static extern int SSL_CTX_set_alpn_protos(IntPtr context, byte* protocols, uint length);
    [DllImport(Ssl)] public static extern void SSL_CTX_set_alpn_select_cb(IntPtr context, delegate* unmanaged<IntPtr, byte**, byte*, byte*, uint, IntPtr, int> callback, IntPtr argument);
    [DllImport(Ssl)] public static extern void SSL_CTX_set_verify(IntPtr context, int mode, IntPtr callback);
    [DllImport(Ssl)] public static extern void SSL_CTX_set_cert_verify_callback(IntPtr context, delegate* unmanaged<IntPtr, IntPtr, int> callback, IntPtr argument);
    [DllImport(Ssl)] public static extern IntPtr SSL_new(IntPtr context);
    [DllImport(Ssl)] public static extern void SSL_free(IntPtr ssl);
    [DllImport(Ssl)] public static extern void SSL_set_bio(IntPtr ssl, IntPtr read, IntPtr write);
    [DllImport(Ssl)] public static extern int SSL_set_ex_data(IntPtr ssl, int index, IntPtr data);
    [DllImport(Ssl)] public static extern IntPtr SSL_get_ex_data(IntPtr ssl, int index);
    [DllImport(Ssl)] public static extern int SSL_get_ex_data_X509_STORE_CTX_idx();
    [DllImport(Ssl)] public static extern void SSL_set_accept_state(IntPtr ssl);
    [DllImport(Ssl)] public static extern void SSL_set_connect_state(IntPtr ssl);
    [DllImport(Ssl)] public static extern int SSL_do_handshake(IntPtr ssl);
    [DllImport(Ssl)] public static extern int SSL_read(IntPtr ssl, byte* buffer, int length);
    [DllImport(Ssl)] public static extern int SSL_write(IntPtr ssl, byte* buffer, int length);
    [DllImport(Ssl)] public static extern int SSL_shutdown(IntPtr ssl);
    [DllImport(Ssl)] public static extern int SSL_pending(IntPtr ssl);
    [DllImport(Ssl)] public static extern int SSL_get_error(IntPtr ssl, int result);
    [DllImport(Ssl)] public static extern void SSL_get0_alpn_selected(IntPtr ssl, byte** protocol, uint* length);

    [DllImport(Crypto)] public static extern IntPtr BIO_meth_new(int type, byte* name);
    [DllImport(Crypto)] public static extern int BIO_meth_set_write(IntPtr method, delegate* unmanaged<IntPtr, byte*, int, int> write);
    [DllImport(Crypto)] public static extern int BIO_meth_set_read(IntPtr method, delegate* unmanaged<IntPtr, byte*, int, int> read);
    [DllImport(Crypto)] public static extern int BIO_meth_set_ctrl(IntPtr method, delegate* unmanaged<IntPtr, int, nint, void*, nint> control);
    [DllImport(Crypto)] public static extern int BIO_get_new_index();
    [DllImport(Crypto)] public static extern IntPtr BIO_new(IntPtr method);
    [DllImport(Crypto)] public static extern int BIO_free(IntPtr bio);
    [DllImport(Crypto)] public static extern void BIO_set_data(IntPtr bio, IntPtr data);
    [DllImport(Crypto)] public static extern IntPtr BIO_get_data(IntPtr bio);
    [DllImport(Crypto)] public static extern void BIO_set_init(IntPtr bio, int initialised);
    [DllImport(Crypto)] public static extern void BIO_set_flags(IntPtr bio, int flags);
    [DllImport(Crypto)] public static extern void BIO_clear_flags(IntPtr bio, int flags);
    [DllImport(Crypto)] public static extern IntPtr d2i_AutoPrivateKey(IntPtr reuse, byte** der, nint length);
    [DllImport(Crypto)] public static extern void EVP_PKEY_free(IntPtr key);
    [DllImport(Crypto)] public static extern IntPtr d2i_X509(IntPtr reuse, byte** der, nint length);
    [DllImport(Crypto)] public static extern int i2d_X509(IntPtr certificate, byte** der);
    [DllImport(Crypto)] public static extern void X509_free(IntPtr certificate);
    [DllImport(Crypto)] public static extern IntPtr X509_STORE_CTX_get_ex_data(IntPtr context, int index);
    [DllImport(Crypto)] public static extern IntPtr X509_STORE_CTX_get0_cert(IntPtr context);
    [DllImport(Crypto)] public static extern IntPtr X509_STORE_CTX_get0_untrusted(IntPtr context);
    [DllImport(Crypto)] public static extern void X509_STORE_CTX_set_error(IntPtr context, int error);
    [DllImport(Crypto)] public static extern int OPENSSL_sk_num(IntPtr stack);
    [DllImport(Crypto)] public static extern IntPtr OPENSSL_sk_value(IntPtr stack, int index);
    [DllImport(Crypto)] public static extern void ERR_clear_error();
    [DllImport(Crypto)] public static extern nuint ERR_get_error();
    [DllImport(Crypto)] public static extern IntPtr ERR_reason_error_string(nuint error);
}
