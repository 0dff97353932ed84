using AmbientMesh.Lab.Commands;

return await LabCommands.Root().Parse(args).InvokeAsync();
