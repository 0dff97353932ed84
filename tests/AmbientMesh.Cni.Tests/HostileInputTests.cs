using System.Text;
using AmbientMesh.Cni.Node.Installation;
using AmbientMesh.Cni.Node.Plugin;
using AmbientMesh.Cni.Node.Redirection;
using AmbientMesh.Cni.Node.Ztunnel;
using FsCheck;
using FsCheck.Fluent;

namespace AmbientMesh.Cni.Tests;

/// <summary>Whatever bytes arrive, a parser answers with a value or a reason, never with an exception it does not announce.</summary>
public class HostileInputTests
{
    private static readonly byte[][] s_valid =
    [
        [0x08, 0x01], [0x0a, 0x00], ZdsMessages.Add("uid", "name", "ns", "sa"),
        Encoding.UTF8.GetBytes("""{"Netns":"/x","PodName":"a","PodNamespace":"b","IPs":[{"Interface":null,"Address":{"IP":"10.0.0.9","Mask":null},"Gateway":null}]}"""),
        Encoding.UTF8.GetBytes("""{"cniVersion":"1.0.0","name":"net","plugins":[{"type":"bridge"},{"type":"istio-cni"}]}"""),
        "*nat\n:ISTIO_PRERT - [0:0]\n-A PREROUTING -j ISTIO_PRERT\nCOMMIT\n"u8.ToArray(),
    ];

    // Valid messages with a few bytes changed, cut or added find more than noise does.
    private static Arbitrary<byte[]> Damaged => (
        from valid in Gen.Elements(s_valid)
        from noise in ArbMap.Default.GeneratorFor<byte[]>()
        from at in Gen.Choose(0, valid.Length)
        from cut in Gen.Choose(0, valid.Length)
        select (byte[])[.. valid[..at], .. noise ?? [], .. valid[cut..]]).ToArbitrary();

    [Fact]
    public void Messages_of_ztunnel() => Check(bytes =>
    {
        if (!ZdsMessages.TryReadAck(bytes, out _, out var problem)) Assert.NotEmpty(problem);
        if (!ZdsMessages.TryReadHello(bytes, out _, out var why)) Assert.NotEmpty(why);
    });

    [Fact]
    public void Events_of_the_plugin() => Check(bytes =>
    {
        if (AddRequest.TryRead(bytes, out var request, out var problem)) Assert.NotEmpty(request.Addresses);
        else Assert.NotEmpty(problem);
    });

    [Fact]
    public void Configurations_of_other_plugins() => Check(bytes =>
    {
        try
        {
            var text = Encoding.UTF8.GetString(bytes);
            var stanza = PluginStanza.For(new Node.AgentSettings { NodeName = "n" });
            Assert.True(PluginStanza.IsIn(PluginStanza.Added(text, stanza).ToJsonString(), stanza));
        }
        catch (FormatException)
        {
            // Announced.
        }
    });

    [Fact]
    public void Rules_of_other_programs() => Check(bytes =>
    {
        var saved = Encoding.UTF8.GetString(bytes);
        IptablesScript.Ours(saved);
        IptablesScript.Install(IptablesPodRules.For(System.Net.Sockets.AddressFamily.InterNetwork, new RedirectSettings(), new PodRedirectOptions(false, false, [])), saved);
        IptablesScript.Remove(saved);
    });

    private static void Check(Action<byte[]> parse) => FsCheck.Check.One(Config.QuickThrowOnFailure.WithMaxTest(2000), Prop.ForAll(Damaged, parse));
}
