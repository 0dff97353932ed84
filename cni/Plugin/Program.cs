using System.Text;
using AmbientMesh.Cni.Plugin;

// Started by the container runtime for every pod that starts; no host, no logging framework, nothing asynchronous.
var command = Environment.GetEnvironmentVariable("CNI_COMMAND");
using var output = Console.OpenStandardOutput();
switch (command)
{
    case "ADD":
        return Add();
    case "DEL" or "CHECK" or "GC" or "STATUS":
        return 0;   // nothing of ours is tied to the sandbox: the agent sees the pod go
    case "VERSION":
        output.Write(CniAnswer.Versions("1.0.0"));
        return 0;
    default:
        output.Write(CniAnswer.Error("1.0.0", CniAnswer.InvalidEnvironment, $"CNI_COMMAND is '{command}'; expected ADD, DEL, CHECK, GC, STATUS or VERSION"));
        return 1;
}

int Add()
{
    PluginCall call;
    try
    {
        using var input = Console.OpenStandardInput();
        using var bytes = new MemoryStream();
        input.CopyTo(bytes);
        call = PluginCall.Read(bytes.ToArray(), Environment.GetEnvironmentVariable);
    }
    catch (FormatException e)
    {
        output.Write(CniAnswer.Error("1.0.0", CniAnswer.CannotDecode, "istio-cni cannot read its configuration", e.Message));
        return 1;
    }
    var decision = PodAdmission.WithoutAsking(call) ?? PodAdmission.Ask(call);
    if (decision.Refusal is { } refusal)
    {
        output.Write(CniAnswer.Error(call.CniVersion, CniAnswer.EnrollmentFailed, "mesh enrolment failed", refusal));
        return 1;
    }
    output.Write(call.PreviousResult is { } previous ? Encoding.UTF8.GetBytes(previous) : CniAnswer.EmptyResult(call.CniVersion));
    return 0;
}
