using System.Net.Security;
using System.Security.Authentication;

namespace AmbientMesh.Hbone.Tests;

public sealed class OpenSslTlsTests() : TlsTests(TlsEngine.OpenSsl)
{
    [Theory]
    [InlineData(false, "certificate required")]
    [InlineData(true, "certificate unknown")]
    [Scenario("L4-077", "L4-078")]
    public async Task A_refused_client_is_told_by_the_recorded_alert(bool foreign, string alert)
    {
        var recorded = Samples.Text($"samples/ztunnel/hbone-server/{(foreign ? "21-tls-foreign-trust-domain" : "20-tls-no-client-cert")}.txt");
        Assert.Contains(alert.Replace(' ', '_').ToUpperInvariant(), recorded, StringComparison.Ordinal);
        var other = new Mesh("other.domain");
        var told = await RefusalAsync(foreign ? other.TrustingAlso(new Mesh(), "client").Svid.CertificateContext : null);
        Assert.Contains(alert, told, StringComparison.Ordinal);
    }

    [Fact]
    [Scenario("L4-077")]
    public async Task Our_client_tells_that_it_was_refused_from_a_tunnel_that_was_lost()
    {
        var mesh = new Mesh();
        var (c, s) = await Loopback.PairAsync();
        var accepting = Record.ExceptionAsync(() => TlsHandshake.AcceptAsync(TlsEngine.OpenSsl, s, mesh.Credentials("server"), Patience.Token)).AsTask();
        await using var tls = await TlsHandshake.ConnectAsync(TlsEngine.OpenSsl, c, new Mesh().TrustingAlso(mesh, "client"), [mesh.Id("server")], Patience.Token);
        var told = await Assert.ThrowsAsync<TlsRecordException>(() => tls.ReadAsync(new byte[16], Patience.Token).AsTask());
        Assert.Contains("alert", told.Message, StringComparison.Ordinal);
        Assert.IsType<TlsHandshakeException>(await Patience.Within(accepting));
    }
}

public sealed class SslStreamTlsTests() : TlsTests(TlsEngine.SslStream);

/// <summary>Real handshakes over loopback, against our own ends and against the framework's, which stands for a foreign peer.</summary>
public abstract class TlsTests(TlsEngine engine)
{
    private readonly Mesh _mesh = new();

    /// <summary>The foreign client of these tests does not care who serves it.</summary>
    private static readonly RemoteCertificateValidationCallback Anyone = new SvidlessTrust().Accept;

    private sealed class SvidlessTrust
    {
        public bool Accept(object sender, System.Security.Cryptography.X509Certificates.X509Certificate? certificate, System.Security.Cryptography.X509Certificates.X509Chain? chain, SslPolicyErrors errors) => certificate is not null;
    }

    [Fact]
    public async Task Two_members_of_the_mesh_learn_each_others_identity()
    {
        var (client, server) = await _mesh.PairAsync(engine, "cart", "payment");
        Assert.Equal(_mesh.Id("payment"), client.Peer.Identity);
        Assert.Equal(_mesh.Id("cart"), server.Peer.Identity);
        await client.WriteAsync("hello"u8.ToArray(), Patience.Token);
        Assert.Equal("hello"u8.ToArray(), await server.ReadExactlyAsync(5));
        await server.ShutdownWriteAsync(Patience.Token);
        Assert.Empty(await client.ReadToEndAsync());
        await client.WriteAsync("still"u8.ToArray(), Patience.Token);
        Assert.Equal("still"u8.ToArray(), await server.ReadExactlyAsync(5));
    }

    [Fact]
    [Scenario("L4-080")]
    public async Task A_server_with_another_identity_than_expected_is_refused()
    {
        var (clientFailure, _) = await HandshakeAsync(_mesh.Credentials("server"), _mesh.Credentials("client"), expected: "another");
        Assert.True(clientFailure!.PeerRefused);
        Assert.StartsWith("invalid peer certificate: ", clientFailure.Message, StringComparison.Ordinal);
        Assert.Contains("/sa/server", clientFailure.Message, StringComparison.Ordinal);
        Assert.Contains("/sa/another", clientFailure.Message, StringComparison.Ordinal);
    }

    [Fact]
    [Scenario("L4-080")]
    public async Task An_empty_set_of_expected_identities_accepts_nobody()
    {
        var (c, s) = await Loopback.PairAsync();
        var accepting = Record.ExceptionAsync(() => AcceptAndReadAsync(s, _mesh.Credentials("server"))).AsTask();
        await Assert.ThrowsAsync<TlsHandshakeException>(() => TlsHandshake.ConnectAsync(engine, c, _mesh.Credentials("client"), [], Patience.Token));
        await Patience.Within(accepting);   // the server's session ends too, in whichever way
    }

    [Fact]
    [Scenario("L4-077", "T-20")]
    public async Task A_client_of_another_trust_domain_is_refused_even_when_its_root_is_trusted()
    {
        var foreign = new Mesh("other.domain");
        var (_, serverFailure) = await HandshakeAsync(
            _mesh.TrustingAlso(foreign, "server"), foreign.TrustingAlso(_mesh, "client"), expected: "server");
        Assert.Contains("other.domain", serverFailure!.Message, StringComparison.Ordinal);
    }

    [Fact]
    [Scenario("L4-077")]
    public async Task A_client_whose_root_is_unknown_is_refused()
    {
        var stranger = new Mesh();
        var (_, serverFailure) = await HandshakeAsync(_mesh.Credentials("server"), stranger.TrustingAlso(_mesh, "client"), expected: "server");
        Assert.True(serverFailure!.PeerRefused);
    }

    [Fact]
    [Scenario("L4-078")]
    public async Task A_client_without_a_certificate_is_refused()
    {
        var failure = await ForeignClientAsync(new SslClientAuthenticationOptions { TargetHost = "x", RemoteCertificateValidationCallback = Anyone, ApplicationProtocols = [SslApplicationProtocol.Http2] });
        Assert.Contains("no certificate", failure.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("http/1.1", SslProtocols.Tls13)]
    [InlineData("h2", SslProtocols.Tls12)]
    [Scenario("T-25")]
    public async Task A_client_with_another_protocol_or_an_older_tls_is_refused(string alpn, SslProtocols version)
    {
        await ForeignClientAsync(new SslClientAuthenticationOptions
        {
            TargetHost = "x",
            RemoteCertificateValidationCallback = Anyone,
            ClientCertificateContext = _mesh.Credentials("client").Svid.CertificateContext,
            ApplicationProtocols = [new SslApplicationProtocol(alpn)],
            EnabledSslProtocols = version,
        });
    }

    /// <summary>TLS 1.3 has no renegotiation; where nothing is resumed no byte can come early either.</summary>
    [Fact]
    [Scenario("T-25")]
    public async Task A_client_that_would_resume_gets_a_whole_handshake_again()
    {
        var options = new SslClientAuthenticationOptions
        {
            TargetHost = "x",
            RemoteCertificateValidationCallback = Anyone,
            ClientCertificateContext = _mesh.Credentials("client").Svid.CertificateContext,
            ApplicationProtocols = [SslApplicationProtocol.Http2],
            AllowTlsResume = true,
        };
        var credentials = _mesh.Credentials("server");
        var first = await HandshakeBytesAsync(options, credentials);
        var second = await HandshakeBytesAsync(options, credentials);
        Assert.InRange(second.Handshake, first.Handshake - 20, first.Handshake + 20);   // with the server's certificate; signatures differ by a byte or two
        if (engine == TlsEngine.OpenSsl) Assert.Equal(5 + 1 + 1 + 16, first.Afterwards);   // a record with one byte, and no ticket before it
    }

    /// <summary>Bytes the server sends for the handshake, and from its end until one byte of data has come.</summary>
    private async Task<(int Handshake, int Afterwards)> HandshakeBytesAsync(SslClientAuthenticationOptions options, TlsCredentials credentials)
    {
        var (c, s) = await Loopback.SocketsAsync();
        var accepting = TlsHandshake.AcceptAsync(engine, new SocketTransport(s), credentials, Patience.Token);
        await using var wire = new CountingStream(new System.Net.Sockets.NetworkStream(c, ownsSocket: true));
        await using var client = new SslStream(wire);
        await client.AuthenticateAsClientAsync(options, Patience.Token);
        await using var server = await Patience.Within(accepting);
        var handshake = wire.Received;
        await server.WriteAsync(new byte[] { 42 }, Patience.Token);
        Assert.Equal(1, await client.ReadAsync(new byte[10], Patience.Token));
        return (handshake, wire.Received - handshake);
    }

    private sealed class CountingStream(Stream inner) : Stream
    {
        public int Received { get; private set; }
        public override bool CanRead => true;
        public override bool CanSeek => false;
        public override bool CanWrite => true;
        public override long Length => throw new NotSupportedException();
        public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            var count = await inner.ReadAsync(buffer, cancellationToken);
            Received += count;
            return count;
        }

        public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) => inner.WriteAsync(buffer, cancellationToken);
        public override void Flush() => inner.Flush();
        public override Task FlushAsync(CancellationToken cancellationToken) => inner.FlushAsync(cancellationToken);
        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();
        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
        public override void SetLength(long value) => throw new NotSupportedException();
        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        protected override void Dispose(bool disposing)
        {
            if (disposing) inner.Dispose();
            base.Dispose(disposing);
        }
    }

    [Fact]
    public async Task A_client_without_alpn_is_served_as_recorded()
    {
        Assert.Contains("alpn=None", Samples.Text("samples/ztunnel/hbone-server/23-tls-no-alpn.txt"), StringComparison.Ordinal);
        var (c, s) = await Loopback.SocketsAsync();
        var accepting = TlsHandshake.AcceptAsync(engine, new SocketTransport(s), _mesh.Credentials("server"), Patience.Token);
        await using var client = new SslStream(new System.Net.Sockets.NetworkStream(c));
        await client.AuthenticateAsClientAsync(new SslClientAuthenticationOptions
        {
            TargetHost = "x",
            RemoteCertificateValidationCallback = Anyone,
            ClientCertificateContext = _mesh.Credentials("client").Svid.CertificateContext,
        }, Patience.Token);
        Assert.Equal(_mesh.Id("client"), (await Patience.Within(accepting)).Peer.Identity);
    }

    [Theory]
    [InlineData("GET / HTTP/1.1\r\nHost: x\r\n\r\n")]
    [InlineData("\0\0\0\0\0\0\0\0")]
    [InlineData("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")]
    [Scenario("L4-079", "T-14")]
    public async Task Plaintext_is_refused(string bytes)
    {
        var (client, server) = await Loopback.PairAsync();
        var accepting = TlsHandshake.AcceptAsync(engine, server, _mesh.Credentials("server"), Patience.Token);
        await client.WriteAsync(System.Text.Encoding.ASCII.GetBytes(bytes), Patience.Token);
        await client.ShutdownWriteAsync(Patience.Token);
        await Assert.ThrowsAsync<TlsHandshakeException>(() => Patience.Within(accepting));
    }

    [Fact]
    [Scenario("T-09")]
    public async Task A_handshake_that_does_not_go_on_can_be_cancelled_and_closes_the_connection()
    {
        var (client, server) = await Loopback.PairAsync();
        using var limit = new CancellationTokenSource();
        var accepting = TlsHandshake.AcceptAsync(engine, server, _mesh.Credentials("server"), limit.Token);
        await client.WriteAsync(new byte[] { 0x16, 3, 1 }, Patience.Token);
        await limit.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Patience.Within(accepting));
        await Assert.ThrowsAnyAsync<IOException>(() => client.ReadToEndAsync());
    }

    /// <summary>Compares the ClientHello's fields with the recorded one's; the order of extensions is random in the recording.</summary>
    [Fact]
    public async Task The_client_hello_names_no_server_offers_tls13_and_h2_alone()
    {
        var (client, server) = await Loopback.PairAsync();
        using var limit = new CancellationTokenSource();
        var connecting = Record.ExceptionAsync(() => TlsHandshake.ConnectAsync(engine, client, _mesh.Credentials("client"), [_mesh.Id("server")], limit.Token)).AsTask();
        var hello = ClientHello.Parse(await ReadRecordAsync(server));
        var recorded = ClientHello.Parse(Samples.Hex("samples/ztunnel/hbone-client/hb-conn1.clienthello.hex"));
        Assert.Equal(recorded.CipherSuites, hello.CipherSuites);
        Assert.Equal(Convert.ToHexString(recorded.Extensions[16]), Convert.ToHexString(hello.Extensions[16]));   // ALPN: h2 alone
        Assert.Equal("020304", Convert.ToHexString(hello.Extensions[43]));                                     // TLS 1.3 alone
        Assert.False(hello.Extensions.ContainsKey(0), "The ClientHello carries a server name.");
        Assert.False(recorded.Extensions.ContainsKey(0));
        Assert.False(hello.Extensions.ContainsKey(41), "The ClientHello offers to resume a session.");
        await limit.CancelAsync();
        await connecting;
    }

    [Fact]
    public async Task A_thousand_bytes_or_a_megabyte_at_a_time_all_arrive()
    {
        var (client, server) = await _mesh.PairAsync(engine);
        foreach (var size in (int[])[1, 1000, 16384, 16385, 300_000, 1 << 20])
        {
            var bytes = Loopback.Bytes(size, size);
            var writing = client.WriteAsync(bytes, Patience.Token).AsTask();
            Assert.Equal(bytes, await server.ReadExactlyAsync(size));
            await writing;
        }
    }

    /// <summary>Both ends' failures; the client's end may only fail when it reads, since TLS 1.3 clients finish first.</summary>
    private async Task<(TlsHandshakeException? Client, TlsHandshakeException? Server)> HandshakeAsync(TlsCredentials server, TlsCredentials client, string expected)
    {
        var (c, s) = await Loopback.PairAsync();
        var accepting = Record.ExceptionAsync(() => AcceptAndReadAsync(s, server)).AsTask();
        var connecting = Record.ExceptionAsync(async () =>
        {
            var tls = await TlsHandshake.ConnectAsync(engine, c, client, [_mesh.Id(expected)], Patience.Token);
            await tls.ReadToEndAsync();
        }).AsTask();
        await Patience.Within(Task.WhenAll(accepting, connecting));
        return (await connecting as TlsHandshakeException, await accepting as TlsHandshakeException);
    }

    private async Task AcceptAndReadAsync(ITransport transport, TlsCredentials own)
    {
        var tls = await TlsHandshake.AcceptAsync(engine, transport, own, Patience.Token);
        await tls.ReadToEndAsync();
    }

    /// <summary>What a foreign client with this certificate is told.</summary>
    protected async Task<string> RefusalAsync(SslStreamCertificateContext? certificate)
    {
        var (c, s) = await Loopback.SocketsAsync();
        var accepting = Record.ExceptionAsync(() => TlsHandshake.AcceptAsync(engine, new SocketTransport(s), _mesh.Credentials("server"), Patience.Token)).AsTask();
        await using var client = new SslStream(new System.Net.Sockets.NetworkStream(c, ownsSocket: true));
        var refused = await Record.ExceptionAsync(async () =>
        {
            var options = new SslClientAuthenticationOptions { TargetHost = "x", RemoteCertificateValidationCallback = Anyone, ClientCertificateContext = certificate, ApplicationProtocols = [SslApplicationProtocol.Http2] };
            await client.AuthenticateAsClientAsync(options, Patience.Token);
            Assert.Equal(0, await client.ReadAsync(new byte[100], Patience.Token));
        });
        Assert.IsType<TlsHandshakeException>(await Patience.Within(accepting));
        return refused?.ToString() ?? "nothing";
    }

    private async Task<Exception> ForeignClientAsync(SslClientAuthenticationOptions options)
    {
        var (c, s) = await Loopback.SocketsAsync();
        var accepting = Record.ExceptionAsync(() => TlsHandshake.AcceptAsync(engine, new SocketTransport(s), _mesh.Credentials("server"), Patience.Token)).AsTask();
        var client = new SslStream(new System.Net.Sockets.NetworkStream(c, ownsSocket: true));
        var refused = await Record.ExceptionAsync(async () =>
        {
            await client.AuthenticateAsClientAsync(options, Patience.Token);
            // A TLS 1.3 client learns of it when it reads: an alert, or the end of the connection.
            if (await client.ReadAsync(new byte[100], Patience.Token) == 0) throw new IOException("closed by the server");
        });
        await client.DisposeAsync();
        Assert.True(refused is AuthenticationException or IOException, $"The client was not told: {refused}");
        return Assert.IsType<TlsHandshakeException>(await Patience.Within(accepting));
    }

    private static async Task<byte[]> ReadRecordAsync(ITransport transport)
    {
        var header = await transport.ReadExactlyAsync(5);
        return [.. header, .. await transport.ReadExactlyAsync((header[3] << 8) | header[4])];
    }
}
