from lib import *
# N: cancelled prepare inside a transaction leaks the connection
url=newdb('my','brk_n'); s=Svc(url,'--database-connections','4')
for i in range(0,40): s.call(f'a{i}@x',f'1{i}')
print('conns',my(23307,"select count(*) from information_schema.processlist where db='brk_n'"))
h=subprocess.Popen(['mariadb','--no-defaults','-h127.0.0.1','-P23307','-uapp','-papp','--skip-ssl','brk_n','-e','BEGIN; SELECT * FROM ContactMerge; SELECT SLEEP(28)'],stdout=subprocess.DEVNULL)
time.sleep(.5)
d=subprocess.Popen(['mariadb','--no-defaults','-h127.0.0.1','-P23307','-uapp','-papp','--skip-ssl','brk_n','-e','ALTER TABLE ContactMerge ADD COLUMN note INT'])
time.sleep(.5)
b=time.time()
for i in range(0,12,2):
    r=s.call(f'a{i}@x',f'1{i+1}',timeout='4S'); print(round(time.time()-b,1),'merge during the DDL:',show(r), 'readyz',s.get('/readyz'))
    r=s.call('a30@x','130',timeout='5S'); print(round(time.time()-b,1),'   known customer:',show(r))
h.wait(); d.wait(); time.sleep(3)
print('DDL done')
for k in range(6):
    b=time.time(); print('after: known',show(s.call('a30@x','130',timeout='8S')),'| new',show(s.call(f'z{k}@x',None,timeout='8S')),round(time.time()-b,1),'readyz',s.get('/readyz'))
print(my(23307,"select id,command,time,state,left(info,60) from information_schema.processlist where db='brk_n'"))
print(s.log()[-600:])
s.stop()
