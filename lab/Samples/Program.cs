using AmbientMesh.Samples;

using var stop = new CancellationTokenSource();
using var term = System.Runtime.InteropServices.PosixSignalRegistration.Create(System.Runtime.InteropServices.PosixSignal.SIGTERM, signal =>
{
    signal.Cancel = true;
    stop.Cancel();
});
using var interrupt = System.Runtime.InteropServices.PosixSignalRegistration.Create(System.Runtime.InteropServices.PosixSignal.SIGINT, signal =>
{
    signal.Cancel = true;
    stop.Cancel();
});

try
{
    return args switch
    {
        ["serve", .. var rest] => await EchoServer.RunAsync(Options.Number(rest, "--http", 8080), Options.Number(rest, "--tcp", 9090), stop.Token),
        ["get", var url, .. var rest] => await HttpCaller.GetAsync(new Uri(url), Options.Number(rest, "--repeat", 1), stop.Token),
        ["loop", var url, .. var rest] => await HttpCaller.LoopAsync(new Uri(url), TimeSpan.FromMilliseconds(Options.Number(rest, "--interval-ms", 1000)), stop.Token),
        ["tcp", var target, var text] => await TcpCaller.EchoAsync(target, text, stop.Token),
        _ => Usage(),
    };
}
catch (FormatException wrong)
{
    Console.Error.WriteLine($"samples: {wrong.Message}");
    return 2;
}

static int Usage()
{
    Console.Error.WriteLine("usage: samples serve [--http 8080] [--tcp 9090] | get URL [--repeat N] | loop URL [--interval-ms 1000] | tcp HOST:PORT TEXT");
    return 2;
}
