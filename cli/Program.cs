using AmbientMesh.Cli.CommandLine;

var surroundings = new Surroundings(Console.Out, Console.Error, Environment.GetEnvironmentVariable, TimeProvider.System);
return await MeshctlCommand.RunAsync(args, surroundings, CancellationToken.None);
