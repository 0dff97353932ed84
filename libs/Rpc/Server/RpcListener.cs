using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;

namespace AmbientMesh.Rpc;

/// <summary>Kestrel as a gRPC server: limits and TLS as istiod's port 15012 has them (reference 2.4).</summary>
public static class RpcListener
{
    /// <summary>PING after 30 s of silence, 10 s to answer; streams without an end; windows for pushes of megabytes.</summary>
    public static void UseRpcLimits(this KestrelServerOptions kestrel)
    {
        kestrel.AddServerHeader = false;
        kestrel.Limits.MaxRequestBodySize = null;
        kestrel.Limits.MinRequestBodyDataRate = null;
        kestrel.Limits.MinResponseDataRate = null;   // a client that applies a large push slowly is not a dead one; PING tells
        var http2 = kestrel.Limits.Http2;
        http2.KeepAlivePingDelay = TimeSpan.FromSeconds(30);
        http2.KeepAlivePingTimeout = TimeSpan.FromSeconds(10);
        http2.MaxStreamsPerConnection = 1000;
        http2.InitialStreamWindowSize = 1024 * 1024;
        http2.InitialConnectionWindowSize = 4 * 1024 * 1024;
    }

    /// <summary>TLS 1.2 and 1.3, ALPN h2.</summary>
    /// <param name="certificate">Asked at every connection, so that a renewed certificate counts from the next one.</param>
    /// <param name="clientCertificate">Makes the judge of a connection's client certificate, which may be null; null asks for none. What the judge notes in the connection's
    /// items is with every call (<see cref="RpcServerContext.ConnectionItems"/>). Sessions are not resumed then: each handshake proves anew.</param>
    public static void UseRpcTls(this ListenOptions listen, Func<SslStreamCertificateContext> certificate, Func<ConnectionContext, RemoteCertificateValidationCallback>? clientCertificate = null)
    {
        listen.Protocols = HttpProtocols.Http2;
        listen.UseHttps(new TlsHandshakeCallbackOptions
        {
            HandshakeTimeout = TimeSpan.FromSeconds(10),
            OnConnection = handshake => ValueTask.FromResult(new SslServerAuthenticationOptions
            {
                ServerCertificateContext = certificate(),
                EnabledSslProtocols = SslProtocols.Tls12 | SslProtocols.Tls13,
                ApplicationProtocols = [SslApplicationProtocol.Http2],
                ClientCertificateRequired = clientCertificate is not null,
                RemoteCertificateValidationCallback = clientCertificate?.Invoke(handshake.Connection),
                AllowTlsResume = clientCertificate is null,
                // The framework builds a chain before it asks the judge; it must fetch nothing that a client names.
                CertificateChainPolicy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck, DisableCertificateDownloads = true },
            }),
        });
    }
}
