using System.Runtime.InteropServices;
using AmbientMesh.Samples;
using AmbientMesh.Samples.Load;

using var stop = new CancellationTokenSource();
var linger = TimeSpan.Zero;
using var term = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);

try
{
    // A server that leaves goes on serving for a while: callers learn of its leaving a moment after it does.
    linger = TimeSpan.FromMilliseconds(Options.Number(args, "--linger-ms", 0));
    return args switch
    {
        ["serve", .. var rest] => await EchoServer.RunAsync(Options.Number(rest, "--http", 8080), Options.Number(rest, "--tcp", 9090), stop.Token),
        ["collect", .. var rest] => await RequestSink.RunAsync(Options.Number(rest, "--http", 4318), stop.Token),
        ["get", var url, .. var rest] => await HttpCaller.GetAsync(new Uri(url), Options.Number(rest, "--repeat", 1), stop.Token),
        ["loop", var url, .. var rest] => await HttpCaller.LoopAsync(new Uri(url), TimeSpan.FromMilliseconds(Options.Number(rest, "--interval-ms", 1000)), stop.Token),
        ["resolve", .. var questions] => await NameAsker.RunAsync(questions, stop.Token),
        ["tcp", var target, var text] => await TcpCaller.EchoAsync(target, text, stop.Token),
        ["load", var target, .. var rest] => await LoadRun.RunAsync(LoadOptions.Read(target, rest), stop.Token),
        _ => Usage(),
    };
}
catch (FormatException wrong)
{
    Console.Error.WriteLine($"samples: {wrong.Message}");
    return 2;
}

void Stop(PosixSignalContext signal)
{
    signal.Cancel = true;
    stop.CancelAfter(linger);
}

static int Usage()
{
    Console.Error.WriteLine("usage: samples serve [--http 8080] [--tcp 9090] [--linger-ms 0] | collect [--http 4318] | get URL [--repeat N] | loop URL [--interval-ms 1000] | tcp HOST:PORT TEXT | resolve NAME/TYPE[/tcp][/edns=BYTES]..."
        + " | load HOST:PORT [--rate 20] [--long-lived 10] [--message-ms 200] [--life-seconds 0] [--seconds 60] [--answer-seconds 10] [--report PORT]");
    return 2;
}
