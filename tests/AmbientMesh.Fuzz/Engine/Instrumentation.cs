using Mono.Cecil;
using Mono.Cecil.Cil;
using Mono.Cecil.Rocks;

namespace AmbientMesh.Fuzz;

/// <summary>Makes an instrumented copy of this program: every basic block of the parsers' assemblies tells <see cref="Coverage"/> that it is reached.</summary>
internal static class Instrumentation
{
    private static readonly string[] Instrumented =
    [
        "AmbientMesh.Hbone", "AmbientMesh.Identity", "AmbientMesh.Kubernetes", "AmbientMesh.Linux", "AmbientMesh.Model", "AmbientMesh.Protocol",
        "AmbientMesh.Rpc", "AmbientMesh.Telemetry", "AmbientMesh.Xds", "ztunnel", "controlplane", "cni-node", "istio-cni", "meshctl", "YamlDotNet", "Google.Protobuf",
    ];

    /// <summary>Copies the folder of the running program to <paramref name="target"/>; an existing copy that is as new is kept.</summary>
    public static void CopyTo(string target)
    {
        var stamp = Path.Combine(target, ".stamp");
        var newest = Directory.EnumerateFiles(AppContext.BaseDirectory, "*.dll").Max(File.GetLastWriteTimeUtc);
        if (File.Exists(stamp) && File.GetLastWriteTimeUtc(stamp) >= newest) return;
        if (Directory.Exists(target)) Directory.Delete(target, recursive: true);
        Directory.CreateDirectory(target);
        foreach (var file in Directory.EnumerateFiles(AppContext.BaseDirectory))
        {
            var copy = Path.Combine(target, Path.GetFileName(file));
            if (Path.GetExtension(file) == ".dll" && Instrumented.Contains(Path.GetFileNameWithoutExtension(file))) Rewrite(file, copy);
            else File.Copy(file, copy);
        }
        File.WriteAllText(stamp, "");
    }

    private static void Rewrite(string from, string to)
    {
        using var resolver = new DefaultAssemblyResolver();
        resolver.AddSearchDirectory(AppContext.BaseDirectory);
        resolver.AddSearchDirectory(Path.GetDirectoryName(typeof(object).Assembly.Location)!);
        using var assembly = AssemblyDefinition.ReadAssembly(from, new ReaderParameters { AssemblyResolver = resolver });
        var hit = assembly.MainModule.ImportReference(typeof(Coverage).GetMethod(nameof(Coverage.Hit))!);
        var next = Hash(assembly.Name.Name);
        foreach (var method in assembly.MainModule.GetTypes().SelectMany(type => type.Methods).Where(m => m.HasBody && m.Body.Instructions.Count > 1))
            Mark(method.Body, hit, ref next);
        assembly.Write(to);
    }

    private static void Mark(MethodBody body, MethodReference hit, ref uint next)
    {
        body.SimplifyMacros();
        var il = body.GetILProcessor();
        foreach (var leader in Leaders(body))
        {
            next = (next * 1664525) + 1013904223;
            var number = il.Create(OpCodes.Ldc_I4, (int)(next >> 8) & (Coverage.Size - 1));
            il.InsertBefore(leader, number);
            il.InsertBefore(leader, il.Create(OpCodes.Call, hit));
            Retarget(body, leader, number);
        }
        body.OptimizeMacros();
    }

    /// <summary>First instructions of the method's basic blocks.</summary>
    private static List<Instruction> Leaders(MethodBody body)
    {
        var leaders = new HashSet<Instruction> { body.Instructions[0] };
        foreach (var instruction in body.Instructions)
        {
            switch (instruction.Operand)
            {
                case Instruction target: leaders.Add(target); break;
                case Instruction[] targets: leaders.UnionWith(targets); break;
            }
            if (instruction.OpCode.FlowControl is FlowControl.Cond_Branch && instruction.Next is { } after) leaders.Add(after);
        }
        foreach (var handler in body.ExceptionHandlers) leaders.Add(handler.HandlerStart);
        return [.. body.Instructions.Where(leaders.Contains)];
    }

    private static void Retarget(MethodBody body, Instruction from, Instruction to)
    {
        foreach (var instruction in body.Instructions)
        {
            if (instruction.Operand == from) instruction.Operand = to;
            else if (instruction.Operand is Instruction[] targets)
                for (var i = 0; i < targets.Length; i++)
                    if (targets[i] == from) targets[i] = to;
        }
        foreach (var handler in body.ExceptionHandlers)
        {
            if (handler.TryStart == from) handler.TryStart = to;
            if (handler.TryEnd == from) handler.TryEnd = to;
            if (handler.FilterStart == from) handler.FilterStart = to;
            if (handler.HandlerStart == from) handler.HandlerStart = to;
            if (handler.HandlerEnd == from) handler.HandlerEnd = to;
        }
    }

    private static uint Hash(string text)
    {
        var hash = 2166136261;
        foreach (var c in text) hash = (hash ^ c) * 16777619;
        return hash;
    }
}
